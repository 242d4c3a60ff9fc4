"""Confidence gate: less weight where the teacher itself is unsure.

Without a window this is the gate of EGRSD, with a window of one token or more that of CL-EGRSD.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from verl_egrsd.credit import controlled_gate, entropy_denominator, lookahead_min
from verl_egrsd.credit.types import Mask, PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, HealthCheck, Panel, Tracker
from verl_egrsd.methods.regimes import RegimeTracker

GateControl = Literal["none", "mean_preserving", "shuffled"]
AT_FLOOR = 1e-6
"""A gate this close to the floor is at the floor."""


@dataclass(frozen=True)
class EntropyGate(Factor):
    """omega[i,t] = clip(1 - gamma * H[i,t] / max(max H, 1 nat), floor, 1)   (EGRSD; CL-EGRSD with a window).

    With a window, the numerator is the lowest entropy of the next `window` tokens, the token itself included.

    Attributes:
        gamma: strength of the gate, in [0, 1]; 0 switches it off.
        window: lookahead W in tokens; 0 is EGRSD, more is CL-EGRSD.
        floor: smallest gate, in (0, 1].
        denominator: what the entropy is divided by: "raw" (maximum of the batch), "filtered" (maximum
            after the lookahead) or a number in nats.
        min_denominator: lower bound of a measured denominator, in nats.
        denominator_group: rows per maximum; "batch" takes one maximum over the whole update batch.
        gate_control: "none", or a control: "mean_preserving" (gate / mean gate), "shuffled" (gate permuted
            within each rollout).
        seed: seed of the shuffled control.
        lock_quantile: running quantile of the normalised entropy up to which a token counts as lock.
        fork_quantile: running quantile from which a token counts as fork or pivot.
    """

    name: ClassVar[str] = "entropy_gate"
    section: ClassVar[str] = ""
    column: ClassVar[str] = "teacher_entropy"
    prefix: ClassVar[str] = ""
    """Begins the names of its views and of the shares of its regimes."""
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("gate", ("entropy_gate/mean", "entropy_gate/min", "entropy_gate/share_at_floor")),
        Panel("weight given back by the lookahead", ("entropy_gate/restored_by_lookahead",)),
        Panel("regimes (share)", tuple(f"regime/{name}" for name in ("lock", "mid", "pivot", "fork"))),
    )
    health_checks: ClassVar[tuple[HealthCheck, ...]] = (
        HealthCheck(
            name="gate saturation",
            threshold="gate_at_floor",
            metric="entropy_gate/share_at_floor",
            limits=(0.2, 0.5),
            unit="share of tokens",
            reading="{percent} of the gates are at the floor, in {steps}.",
            advice="Lower algorithm.egrsd.gamma, or raise a fixed algorithm.egrsd.denominator.",
        ),
        HealthCheck(
            name="open gate",
            threshold="gate_open",
            metric="entropy_gate/mean",
            limits=(0.99, None),
            unit="mean gate",
            reading="The mean gate is {value:.3f}, in {steps}.",
            advice=(
                "The gate hardly acts, so this is close to rlsd: raise algorithm.egrsd.gamma, or look "
                "whether the teacher is certain everywhere (egrsd/teacher_entropy/mean)."
            ),
        ),
    )

    gamma: float = 0.3
    window: int = 0
    floor: float = 0.1
    denominator: str | float = "raw"
    min_denominator: float = 1.0
    denominator_group: str | int = "batch"
    gate_control: GateControl = "none"
    seed: int = 0
    lock_quantile: float = 0.5
    fork_quantile: float = 0.7

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        check = self.check
        check.number("gamma", lambda x: 0 <= x <= 1, "in [0, 1]; 0 switches the gate off")
        check.integer("window", minimum=0)
        check.number("floor", lambda x: 0 < x <= 1, "in (0, 1]; the gate never reaches zero")
        check.number("min_denominator", lambda x: x > 0, "positive, in nats")
        check.one_of("gate_control", get_args(GateControl))
        check.integer("seed", minimum=0)
        check.number("lock_quantile", lambda x: 0 < x < 1, "in (0, 1)")
        check.number("fork_quantile", lambda x: self.lock_quantile < x < 1, "in (lock_quantile, 1)")
        if isinstance(self.denominator, str):
            check.one_of("denominator", ("raw", "filtered"), "or a positive number in nats")
        else:
            allowed = 'positive, in nats, or "raw" or "filtered"'
            check.number("denominator", lambda x: 0 < x < math.inf, allowed)
        if isinstance(self.denominator_group, str):
            check.one_of("denominator_group", ("batch",), "or a number of rows")
        else:
            check.integer("denominator_group", minimum=1)

    @property
    def reads(self) -> frozenset[str]:
        """The entropy of the teacher."""
        return frozenset({self.column})

    @property
    def off(self) -> bool:
        """With gamma 0 every gate is 1."""
        return self.gamma == 0

    @property
    def rows_per_maximum(self) -> int | None:
        """`denominator_group` as a number of rows; None is the whole batch."""
        return None if isinstance(self.denominator_group, str) else self.denominator_group

    def check_batch(self, rows: int) -> None:
        """Refuse a group of rows per maximum that does not divide the rows of a step."""
        if self.rows_per_maximum and rows % self.rows_per_maximum:
            raise ValueError(
                f"algorithm.egrsd.denominator_group={self.denominator_group} does not divide the {rows} "
                "rollouts of a step (data.train_batch_size * rollout.n): set it to a divisor, or to batch."
            )

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return omega under the control, in [floor, 1] without one."""
        mask = columns.response_mask
        gate = self.gate(columns.column(self.column), mask)
        return controlled_gate(gate, mask, self.gate_control, self.seed + columns.step)

    @torch.no_grad()
    def gate(self, entropy: PerToken, response_mask: Mask) -> PerToken:
        """Return omega before a control, (B, T); 0 outside the mask.

        Args:
            entropy: nats, (B, T).
            response_mask: True on response tokens, (B, T).
        """
        lowest = lookahead_min(entropy, response_mask, self.window)
        scale = entropy_denominator(entropy, response_mask, window=self.window, **self.denominator_keys())
        # In place: at 512 x 20,000 tokens, new memory costs more than the arithmetic.
        gate = lowest.mul_(-self.gamma / scale).add_(1).clamp_(self.floor, 1.0)
        return gate.mul_(response_mask)

    def denominator_keys(self) -> dict[str, Any]:
        """Return the arguments of :func:`~verl_egrsd.credit.normalise.entropy_denominator`."""
        return {
            "denominator": self.denominator,
            "min_denominator": self.min_denominator,
            "denominator_group": self.rows_per_maximum,
        }

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the share of gates at the floor before a control, and the weight that the window adds."""
        entropy, mask = columns.column(self.column), columns.response_mask
        gate, plain = self.gate(entropy, mask)[mask], replace(self, window=0).gate(entropy, mask)[mask]
        return {
            "share_at_floor": (gate <= self.floor + AT_FLOOR).float().mean(),
            "restored_by_lookahead": (gate - plain).mean(),
        }

    def tracker(self) -> Tracker:
        """Return the shares of the token regimes, whose limits are running quantiles."""
        return RegimeTracker(self)
