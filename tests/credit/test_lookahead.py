import pytest
import torch
from hypothesis import given

from verl_egrsd.credit import lookahead_min

from .strategies import batches, examples, windows


def naive_lookahead(entropy, mask, window):
    result = torch.zeros_like(entropy)
    for row in range(entropy.shape[0]):
        for t in range(entropy.shape[1]):
            reach = [entropy[row, j] for j in range(t, min(t + window + 1, entropy.shape[1])) if mask[row, j]]
            if mask[row, t]:
                result[row, t] = min(reach)
    return result


@examples
@given(batches(), windows)
def test_the_lookahead_equals_a_plain_double_loop(batch, window):
    expected = naive_lookahead(batch.teacher_entropy, batch.response_mask, window)
    assert torch.equal(lookahead_min(batch.teacher_entropy, batch.response_mask, window), expected)


@pytest.mark.parametrize("window", [0, 1, 2, 3, 4, 5, 7, 8, 31, 63, 64, 1000])
def test_the_lookahead_equals_a_plain_double_loop_on_long_rollouts(window):
    entropy = torch.rand(2, 64, generator=torch.Generator().manual_seed(window))
    mask = torch.arange(64) < torch.tensor([[64], [41]])
    assert torch.equal(lookahead_min(entropy, mask, window), naive_lookahead(entropy, mask, window))


def test_the_window_includes_its_last_position_and_nothing_beyond():
    entropy, mask = torch.tensor([[3.0, 2.0, 1.0, 0.5]]), torch.ones(1, 4, dtype=torch.bool)
    assert lookahead_min(entropy, mask, 2).tolist() == [[1.0, 0.5, 0.5, 0.5]]


def test_a_neighbouring_rollout_never_enters_the_window():
    entropy, mask = torch.tensor([[3.0, 2.0], [0.1, 0.1]]), torch.ones(2, 2, dtype=torch.bool)
    assert lookahead_min(entropy, mask, 5)[0].tolist() == [2.0, 2.0]


def test_a_single_position_is_its_own_window():
    assert lookahead_min(torch.tensor([[1.5]]), torch.ones(1, 1, dtype=torch.bool), 3).tolist() == [[1.5]]


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match=r"window=-1 .* 0 \(no lookahead\)"):
        lookahead_min(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), -1)
