"""Log-ratio: distillation on the sampled token (the sampled form of OPSD, arXiv 2601.18734).

With an advantage of 1 this weight is the whole credit, and it has a sign: a token that the teacher finds less
likely than the student does loses probability, whatever the rollout earned. Where tokens are sampled from the
student's whole distribution, the mean of -log_ratio * grad log p_S is the gradient of KL(p_S || p_T) at that
position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, Panel
from verl_egrsd.methods.ratio import MAX_LOG_RATIO


@dataclass(frozen=True)
class LogRatio(Factor):
    """delta[i,t] = clip(log p_T[i,t] - log p_S[i,t], low, high), in nats.

    Attributes:
        low: smallest weight in nats, 0 or less.
        high: largest weight in nats, 0 or more.
    """

    name: ClassVar[str] = "log_ratio"
    about_one: ClassVar[bool] = False
    centre: ClassVar[float | None] = 0.0
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("log-ratio (nats)", ("log_ratio/mean", "log_ratio/abs_mean")),
        Panel("clipped log-ratios (share)", ("log_ratio/share_clipped_low", "log_ratio/share_clipped_high")),
    )

    low: float = -MAX_LOG_RATIO
    high: float = MAX_LOG_RATIO

    def __post_init__(self) -> None:
        """Refuse bounds out of range."""
        self.check.number("low", lambda x: -MAX_LOG_RATIO <= x <= 0, f"in [-{MAX_LOG_RATIO:g}, 0], in nats")
        self.check.number("high", lambda x: 0 <= x <= MAX_LOG_RATIO, f"in [0, {MAX_LOG_RATIO:g}], in nats")

    @property
    def reads(self) -> frozenset[str]:
        """Both log-probs of the sampled token."""
        return frozenset({"student_log_prob", "teacher_log_prob"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return delta, in [low, high] nats."""
        return columns.log_ratio().clamp(self.low, self.high)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the mean absolute weight in nats, and the shares of tokens beyond the bounds."""
        mask = columns.response_mask
        log_ratio = columns.log_ratio()[mask]
        return {
            "abs_mean": weights[mask].abs().mean(),
            "share_clipped_low": (log_ratio < self.low).float().mean(),
            "share_clipped_high": (log_ratio > self.high).float().mean(),
        }
