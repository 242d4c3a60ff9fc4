"""The textbook way, by full logits and autograd: what the kernel is compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from verl_egrsd.divergences import Divergence, RowLoss


def shares(s: Tensor, t: Tensor, settings: Divergence) -> Tensor:
    """Return each entry's share of the divergence from log-probs."""
    beta = settings.beta
    if settings.kind == "forward":
        return t.exp() * (t - s)
    if settings.kind == "reverse":
        return s.exp() * (s - t)
    mixture = torch.logaddexp(s + math.log1p(-beta), t + math.log(beta))
    return beta * t.exp() * (t - mixture) + (1 - beta) * s.exp() * (s - mixture)


def on_support(s: Tensor, t: Tensor, settings: Divergence) -> tuple[Tensor, Tensor]:
    """Return both sides' log-probs on the support, as `tail` says."""
    if settings.top_k is None:
        return s, t
    chosen = (s if settings.support == "student" else t).topk(settings.top_k, dim=-1).indices
    kept, kept_t = s.gather(-1, chosen), t.gather(-1, chosen)
    if settings.tail == "bucket":
        outside = torch.ones_like(s, dtype=torch.bool).scatter(-1, chosen, False)
        tails = [side.masked_fill(~outside, -math.inf).logsumexp(-1, keepdim=True) for side in (s, t)]
        return torch.cat([kept, tails[0]], -1), torch.cat([kept_t, tails[1]], -1)
    if settings.tail == "renormalised":
        kept = kept.log_softmax(-1)
    return kept, kept_t if settings.tail == "dropped" else kept_t.log_softmax(-1)


def divergence_of_logits(x: Tensor, z: Tensor, settings: Divergence) -> Tensor:
    """Return the divergence of each row, nats."""
    s, t = (torch.log_softmax(logits / settings.temperature, -1) for logits in (x, z))
    found = shares(*on_support(s, t, settings), settings)
    if settings.clip is not None:
        found = found.clamp(-settings.clip if settings.clip_sides == "both" else None, settings.clip)
    return found.sum(-1)


def log_prob(logits: Tensor, token_ids: Tensor) -> Tensor:
    """Return the log-probs of tokens."""
    return torch.log_softmax(logits, -1).gather(-1, token_ids[:, None])[:, 0]


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each row."""
    return torch.distributions.Categorical(logits=logits, validate_args=False).entropy()


def row_loss_of_logits(
    x: Tensor, z: Tensor, settings: Divergence, loss: RowLoss, token_ids: Tensor, score_temperature: float
) -> Tensor:
    """Return the loss of each row."""
    s = log_prob(x / score_temperature, token_ids)
    weight = torch.ones_like(s) if loss.weights is None else loss.weights
    ratio = None if loss.old_log_probs is None else (s - loss.old_log_probs).exp()
    if loss.ratio_cap is not None and ratio is not None:
        weight = weight * ratio.detach().clamp(max=loss.ratio_cap)
    found = weight * divergence_of_logits(x, z, settings)
    if loss.advantages is None:
        return found
    advantages = loss.advantages * (1 if loss.policy_weights is None else loss.policy_weights)
    if ratio is None:
        return found - advantages * s
    clipped = ratio.clamp(1 - loss.clip_low, 1 + loss.clip_high)
    return found + torch.maximum(-advantages * ratio, -advantages * clipped)
