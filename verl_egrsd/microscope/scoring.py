"""What a model thinks of a given response: log-probability and entropy of each token, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

LOGITS_BYTES = 256 * 2**20
"""Size of one float32 buffer of logits: Qwen3's vocabulary of 151,936 rows takes 0.58 MiB per token, and an
entropy holds three such buffers."""

PROBE = 8
"""Tokens that are tried for a plain head; several, since that of the padding may be a zero vector."""


@torch.no_grad()
def score(
    model: Any, prompt: Sequence[int], response: Sequence[int], temperature: float
) -> tuple[Float[Tensor, " tokens"], Float[Tensor, " tokens"]]:
    """Score a response after a prompt in one forward pass; both results are in nats, float32, on the CPU.

    Only the rows of the response meet the vocabulary, a chunk at a time.

    Args:
        model: causal language model of transformers in float32 that :func:`require_plain_head` accepts.
        prompt: ids of the prompt, at least one.
        response: ids of the response.
        temperature: what the logits are divided by, as in the rollout.

    Returns:
        log-probability of each response token, and entropy of the distribution that it was drawn from.
    """
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0, len(prompt) - 1 : -1]
    head, sampled = model.get_output_embeddings(), ids[0, len(prompt) :]
    chunk = max(1, LOGITS_BYTES // (4 * head.weight.shape[0]))
    parts = [
        _log_prob_and_entropy(head(rows) / temperature, tokens)
        for rows, tokens in zip(hidden.split(chunk), sampled.split(chunk), strict=True)
    ]
    log_prob, entropy = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return log_prob, entropy


def _log_prob_and_entropy(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    log_probs = logits.float().log_softmax(dim=-1)
    sampled = log_probs.gather(1, tokens[:, None]).squeeze(1)
    return sampled, -(log_probs.exp() * log_probs).sum(dim=-1)


@torch.no_grad()
def require_plain_head(model: Any) -> None:
    """Refuse a model that scales or caps its logits behind the output embedding: :func:`score` would not.

    Raises:
        ValueError: naming the architecture.
    """
    probe = torch.arange(PROBE, device=model.device).unsqueeze(0)
    expected = model(input_ids=probe, use_cache=False).logits
    hidden = model.get_decoder()(input_ids=probe, use_cache=False).last_hidden_state
    if not torch.allclose(model.get_output_embeddings()(hidden), expected, rtol=1e-4, atol=1e-4):
        raise ValueError(
            f"{type(model).__name__} changes its logits behind the output embedding, which the microscope "
            "does not: inspect a model of another architecture, such as Qwen3."
        )
