"""Likelihood ratio: how far the informed teacher and the student disagree on the sampled token.

The exponent has the sign of the advantage. A token of a correct answer weighs more if the teacher finds
it likelier than the student does, a token of a wrong answer if the teacher finds it less likely. The ratio
is positive, so it never changes the sign of the advantage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, HealthCheck, Panel

MAX_LOG_RATIO = 100.0
"""Nats; no clip below 1 reaches log(1 - clip) = -40, in double precision either."""
EDGE = 1e-6
"""A ratio this close to the clip is clipped."""


@dataclass(frozen=True)
class Ratio(Factor):
    """w[i,t] = clip(exp(sign(A[i]) * (log p_T[i,t] - log p_S[i,t])), 1 - clip, 1 + clip)   (EGRSD, RLSD).

    An advantage of 0 gives exactly 1. Finite columns never give NaN: an overflow is clipped.

    Attributes:
        clip: half width eps of the clip around a ratio of 1, in [0, 1); 0 switches the ratio off.
    """

    name: ClassVar[str] = "ratio"
    section: ClassVar[str] = ""
    centre: ClassVar[float | None] = 1.0
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("clipped ratios (share)", ("ratio/share_clipped_low", "ratio/share_clipped_high")),
    )
    health_checks: ClassVar[tuple[HealthCheck, ...]] = (
        HealthCheck(
            name="clipped ratios",
            threshold="clipped",
            metric="ratio/share_clipped",
            limits=(0.3, 0.6),
            unit="share of tokens",
            reading="{percent} of the likelihood ratios are clipped, in {steps}.",
            advice=(
                "Teacher and student disagree almost everywhere: compare their prompts and generation "
                "headers, which the log shows at the start."
            ),
        ),
    )

    clip: float = 0.2

    def __post_init__(self) -> None:
        """Refuse a clip out of range."""
        self.check.number("clip", lambda x: 0 <= x < 1, "in [0, 1); 0 switches the likelihood ratio off")

    @property
    def reads(self) -> frozenset[str]:
        """Both log-probs of the sampled token."""
        return frozenset({"student_log_prob", "teacher_log_prob"})

    @property
    def off(self) -> bool:
        """With clip 0 every ratio is 1."""
        return self.clip == 0

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return w, in [1 - clip, 1 + clip]."""
        # The difference may overflow, and 0 times infinity would be NaN.
        log_ratio = columns.log_ratio().clamp_(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        return log_ratio.mul_(advantages.sign()).exp_().clamp_(1 - self.clip, 1 + self.clip)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the shares of clipped tokens, and the mean absolute log-ratio in nats."""
        ratio = weights[columns.response_mask]
        low, high = ratio <= 1 - self.clip + EDGE, ratio >= 1 + self.clip - EDGE
        return {
            "share_clipped": (low | high).float().mean(),
            "share_clipped_low": low.float().mean(),
            "share_clipped_high": high.float().mean(),
            "log_ratio_abs": columns.log_ratio()[columns.response_mask].abs().mean(),
        }
