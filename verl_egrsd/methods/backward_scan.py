"""Backward scan: a token also gets a share of the weight of the tokens after it (DASH, arXiv 2608.06243).

The log-ratio of teacher and student is a reward per token. The weight of a token is its own reward plus a
share of the next token's weight. The share is small where the token's reward is above the mean of its
rollout, and close to 1 where it is below. With an advantage of 1 the weights are the whole credit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, Panel
from verl_egrsd.methods.ratio import MAX_LOG_RATIO


@dataclass(frozen=True)
class BackwardScan(Factor):
    """G[i,t] = r[i,t] + lambda[i,t] * G[i,t+1], with G = 0 after the last response token.

        r[i,t] = log p_T[i,t] - log p_S[i,t]
        lambda[i,t] = sigmoid(-kappa * (r[i,t] - mean of r over the response tokens of rollout i))

    Attributes:
        kappa: how sharply the share turns, per nat, 0 or more; 0 gives a share of 0.5 everywhere.
    """

    name: ClassVar[str] = "backward_scan"
    about_one: ClassVar[bool] = False
    centre: ClassVar[float | None] = 0.0
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("backward scan (nats)", ("backward_scan/mean", "backward_scan/abs_mean")),
        Panel("share of the next weight", ("backward_scan/lambda",)),
    )

    kappa: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.number("kappa", lambda x: 0 <= x < float("inf"), "zero or more, per nat")

    @property
    def reads(self) -> frozenset[str]:
        """Both log-probs of the sampled token."""
        return frozenset({"student_log_prob", "teacher_log_prob"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return G in nats, (B, T), of either sign."""
        rewards = columns.log_ratio().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        return backward_scan(rewards, self.shares(columns))

    def shares(self, columns: Columns) -> PerToken:
        """Return lambda, in [0, 1], (B, T); values outside the mask are not used."""
        mask = columns.response_mask
        rewards = columns.log_ratio().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        mean = rewards.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.sigmoid(-self.kappa * (rewards - mean))

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the mean absolute weight in nats, and the mean share of the next weight."""
        mask = columns.response_mask
        return {"abs_mean": weights[mask].abs().mean(), "lambda": self.shares(columns)[mask].mean()}


def backward_scan(values: PerToken, shares: PerToken) -> PerToken:
    """Return G[t] = values[t] + shares[t] * G[t + 1], from the last position to the first, (B, T)."""
    following = torch.zeros_like(values[:, 0])
    found = []
    # One position after another, for all rows at once; with time as first dimension each is contiguous.
    for value, share in zip(values.T.contiguous().flip(0), shares.T.contiguous().flip(0), strict=True):
        following = value + share * following
        found.append(following)
    return torch.stack(found).flip(0).T
