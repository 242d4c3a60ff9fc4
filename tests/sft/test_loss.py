"""verl's loss on our mask is the one of docs/methods/sft.md, by values computed apart from this package."""

import pytest
import torch
from tensordict import TensorDict
from verl.workers.utils.losses import sft_loss

LOGITS = [[1.2, 0.3, -0.7, 0.0, 2.1], [0.1, 0.2, 0.0, -0.3, 0.4], [4.0, -1.0, 0.5, 0.2, -2.0]]
RESPONSE = [4, 1, 0]
LOSS = 0.7126514380929071
GRADIENT = [
    [
        0.07721526658317583,
        0.031393384661501454,
        0.011548980805753284,
        0.023256791366110238,
        -0.1434144234165408,
    ],
    [0.06626658626429223, -0.2600974293538864, 0.05996048681743935, 0.04441982115530501, 0.08945053511684982],
    [
        -0.019396539137235307,
        0.0021152894803561106,
        0.009480069744713064,
        0.007023008400216922,
        0.0007781715119492366,
    ],
]


def test_loss_and_gradient_are_the_golden_ones_with_a_prompt_that_is_not_learned():
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    learned = logits.log_softmax(dim=1)[range(3), RESPONSE]
    # A position scores the token after it: first one of the prompt, last what follows the row in its batch.
    scores = torch.cat([torch.tensor([-9.0]), learned, torch.tensor([-9.0])])
    mask, offsets = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 5])
    log_probs, loss_mask = (torch.nested.nested_tensor_from_jagged(row, offsets) for row in (scores, mask))
    data = TensorDict({"loss_mask": loss_mask, "dp_size": 1, "batch_num_tokens": 3}, batch_size=[])
    loss, _ = sft_loss(None, {"log_probs": log_probs}, data)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(LOSS, abs=1e-12)
    torch.testing.assert_close(logits.grad, torch.tensor(GRADIENT, dtype=torch.float64), rtol=0, atol=1e-12)
