"""What a row's loss is made of: its weight times the divergence, and a policy term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from verl_egrsd.divergences.sides import TokenScores

_PerRow = Float[Tensor, " rows"]


class Terms(NamedTuple):
    """The loss of some rows, as far as it is known before their divergence; all (n,).

    Attributes:
        weight: of the divergence.
        policy: the policy term's part of the loss.
        slope: its derivative with respect to the log-prob of the row's token.
    """

    weight: Tensor
    policy: Tensor
    slope: Tensor


@dataclass(frozen=True)
class RowLoss:
    """Loss of a row = weight * min(r, ratio_cap) * D + policy weight * policy term; all tensors are (N,).

    With s the student's log-prob of the row's token and r = exp(s - old log-prob), the policy term is

        -A s                                            without old log-probs
        max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))      with them (PPO)

    Attributes:
        weights: of the divergence; None for 1. A gate, a mask and 1 / tokens belong here.
        advantages: A; None for no policy term.
        policy_weights: of the policy term; None for 1.
        old_log_probs: nats.
        clip_low, clip_high: of the policy term.
        ratio_cap: bound of the ratio that the divergence is multiplied with, without gradient; None for no
            ratio.
    """

    weights: _PerRow | None = None
    advantages: _PerRow | None = None
    policy_weights: _PerRow | None = None
    old_log_probs: _PerRow | None = None
    clip_low: float = 0.2
    clip_high: float = 0.2
    ratio_cap: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be computed or would not be read."""
        if self.ratio_cap is not None and self.old_log_probs is None:
            raise ValueError(f"ratio_cap={self.ratio_cap} needs old_log_probs, which the ratio is taken to.")
        if self.policy_weights is not None and self.advantages is None:
            raise ValueError("policy_weights belong to a policy term, which needs advantages.")

    @property
    def needs_tokens(self) -> bool:
        """Whether a term reads the log-prob of the row's token."""
        return self.advantages is not None or self.ratio_cap is not None

    def counted(self, count: int) -> Tensor | slice:
        """Return which of the rows have a loss at all."""
        if self.weights is None:
            return slice(count)
        counted = self.weights != 0
        return counted if self.advantages is None else counted | (self.advantages != 0)

    def require_rows(self, count: int) -> None:
        """Refuse a tensor whose shape is not (count,)."""
        for name in ("weights", "advantages", "policy_weights", "old_log_probs"):
            value = getattr(self, name)
            if value is not None and value.shape != (count,):
                raise ValueError(f"{name} of shape {tuple(value.shape)} does not fit: it must be ({count},).")

    def terms(self, rows: slice, scores: TokenScores) -> Terms:
        """Return the terms of some rows from the student's scores."""
        log_prob, entropy = scores
        one, none = torch.ones_like(entropy), torch.zeros_like(entropy)
        weight = _of(self.weights, rows, one)
        if log_prob is None or not self.needs_tokens:
            return Terms(weight, none, none)
        ratio = (log_prob - _of(self.old_log_probs, rows, log_prob)).exp()
        if self.ratio_cap is not None:
            weight = weight * ratio.clamp(max=self.ratio_cap)
        advantage = _of(self.advantages, rows, none) * _of(self.policy_weights, rows, one)
        if self.old_log_probs is None:
            return Terms(weight, -advantage * log_prob, -advantage)
        plain, clipped = -advantage * ratio, -advantage * ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        return Terms(weight, torch.maximum(plain, clipped), plain.where(plain >= clipped, 0.0))


def _of(values: Tensor | None, rows: slice, otherwise: Tensor) -> Tensor:
    return otherwise if values is None else values[rows].to(otherwise)
