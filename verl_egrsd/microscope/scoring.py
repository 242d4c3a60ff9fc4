"""Scores of a given response under a model: log-probability and entropy of each token, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from verl_egrsd.scoring.scorer import score_tokens

PROBE = 8
"""Tokens with which the head is tested. Several, because the padding token may embed to a zero vector."""


@torch.no_grad()
def score(
    model: Any, prompt: Sequence[int], response: Sequence[int], temperature: float
) -> tuple[Float[Tensor, " tokens"], Float[Tensor, " tokens"]]:
    """Score a response after a prompt in one forward pass; both results are in nats, float32, on the CPU.

    Logits are computed for the rows of the response only, a block at a time.

    Args:
        model: causal language model of transformers in float32 that :func:`require_plain_head` accepts.
        prompt: ids of the prompt, at least one.
        response: ids of the response.
        temperature: divides the logits, as in the rollout.

    Returns:
        log-probability of each response token, and entropy of the distribution at its position.
    """
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0, len(prompt) - 1 : -1]
    head, sampled = model.get_output_embeddings(), ids[0, len(prompt) :]
    scores = score_tokens(hidden, head.weight, sampled, temperature=temperature, bias=head.bias)
    log_prob, entropy = (column.cpu() for column in scores)
    return log_prob, entropy


@torch.no_grad()
def require_plain_head(model: Any) -> None:
    """Refuse a model that scales or caps its logits after the output embedding, because :func:`score` does
    not.

    Raises:
        ValueError: naming the architecture.
    """
    probe = torch.arange(PROBE, device=model.device).unsqueeze(0)
    expected = model(input_ids=probe, use_cache=False).logits
    hidden = model.get_decoder()(input_ids=probe, use_cache=False).last_hidden_state
    if not torch.allclose(model.get_output_embeddings()(hidden), expected, rtol=1e-4, atol=1e-4):
        raise ValueError(
            f"{type(model).__name__} changes its logits after the output embedding, and the microscope does "
            "not: inspect a model of another architecture, such as Qwen3."
        )
