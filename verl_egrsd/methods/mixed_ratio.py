"""Mixed ratio: the likelihood ratio, mixed with 1 by a share that falls to 0 (RLSD, arXiv 2604.03128).

The teacher shapes the credit in the first steps. Later every token of a rollout weighs the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, HealthCheck, Panel
from verl_egrsd.methods.ratio import EDGE, Ratio


@dataclass(frozen=True)
class MixedRatio(Factor):
    """v[i,t] = (1 - lambda) + lambda * w[i,t], where w is the likelihood ratio (`Ratio`).

    With k = step - 1, the number of earlier steps:
        lambda = lambda0 * k / warmup_steps                                while k < warmup_steps
        lambda = lambda0 * max(0, 1 - (k - warmup_steps) / decay_steps)    from then on

    Attributes:
        lambda0: largest share of the likelihood ratio, in [0, 1]; 0 switches the factor off.
        decay_steps: steps in which lambda falls from lambda0 to 0; 0 keeps it at lambda0.
        warmup_steps: steps in which lambda first rises from 0 to lambda0.
        clip: half width of the clip around a ratio of 1, in [0, 1).
    """

    name: ClassVar[str] = "mixed_ratio"
    centre: ClassVar[float | None] = 1.0
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("lambda of the mixed ratio", ("mixed_ratio/lambda",)),
        Panel(
            "clipped mixed ratios (share)",
            ("mixed_ratio/share_clipped_low", "mixed_ratio/share_clipped_high"),
        ),
    )
    health_checks: ClassVar[tuple[HealthCheck, ...]] = tuple(
        replace(
            check,
            name="clipped mixed ratios",
            threshold="clipped_mixed",
            metric="mixed_ratio/share_clipped",
        )
        for check in Ratio.health_checks
    )

    lambda0: float = 0.5
    decay_steps: int = 50
    warmup_steps: int = 0
    clip: float = 0.2

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.number("lambda0", lambda x: 0 <= x <= 1, "in [0, 1]; 0 switches the mixed ratio off")
        self.check.integer("decay_steps", minimum=0)
        self.check.integer("warmup_steps", minimum=0)
        self.check.number("clip", lambda x: 0 <= x < 1, "in [0, 1)")

    @property
    def reads(self) -> frozenset[str]:
        """Both log-probs of the sampled token, also in steps in which lambda is 0."""
        return self._ratio.reads

    @property
    def off(self) -> bool:
        """With lambda0 0 every weight is 1 in every step."""
        return self.lambda0 == 0

    @property
    def _ratio(self) -> Ratio:
        return Ratio(self.clip)

    def share(self, step: int) -> float:
        """Return lambda in a training step, counted from 1."""
        earlier = step - 1
        if earlier < self.warmup_steps:
            return self.lambda0 * earlier / self.warmup_steps
        if self.decay_steps == 0:
            return self.lambda0
        return self.lambda0 * max(0.0, 1 - (earlier - self.warmup_steps) / self.decay_steps)

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return v, in [1 - lambda * clip, 1 + lambda * clip]; exactly 1 where lambda is 0."""
        share = self.share(columns.step)
        return (1 - share) + share * self._ratio.weights(columns, advantages)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return lambda, the shares of clipped tokens (0 with lambda), and the mean |log-ratio| in nats."""
        mask, share = columns.response_mask, self.share(columns.step)
        change, reach = weights[mask] - 1, share * self.clip
        low = (change <= EDGE - reach).float().mean() * (reach > EDGE)
        high = (change >= reach - EDGE).float().mean() * (reach > EDGE)
        return {
            "lambda": torch.tensor(share),
            "share_clipped": low + high,
            "share_clipped_low": low,
            "share_clipped_high": high,
            "log_ratio_abs": columns.log_ratio()[mask].abs().mean(),
        }
