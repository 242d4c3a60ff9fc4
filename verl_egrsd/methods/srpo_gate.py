"""SRPO's confidence weight: exponentially less weight where the teacher is unsure, mean 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from verl_egrsd.credit import mean_one
from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, Panel


@dataclass(frozen=True)
class SrpoGate(Factor):
    """w[i,t] = exp(-beta * H_T[i,t]) / mean of exp(-beta * H_T)   (SRPO, arXiv 2604.02288).

    The mean is that over the response tokens of the batch. SRPO weighs the divergence of failed rollouts with
    it and leaves correct ones to GRPO; here it weighs the credit of every rollout, which is a combination of
    ours.

    Attributes:
        beta: steepness, per nat, 0 or more; 0 switches the gate off.
    """

    name: ClassVar[str] = "srpo_gate"
    centre: ClassVar[float | None] = 1.0
    panels: ClassVar[tuple[Panel, ...]] = (Panel("SRPO's gate", ("srpo_gate/min", "srpo_gate/max")),)

    beta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a beta out of range."""
        self.check.number("beta", lambda x: 0 <= x < math.inf, "0 or more; 0 switches the gate off")

    @property
    def reads(self) -> frozenset[str]:
        """The entropy of the teacher."""
        return frozenset({"teacher_entropy"})

    @property
    def off(self) -> bool:
        """With beta 0 every weight is 1."""
        return self.beta == 0

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return w, with mean 1 over the response tokens; 0 outside the mask."""
        entropy, mask = columns.column("teacher_entropy"), columns.response_mask
        # The smallest entropy cancels in the quotient; without it every weight may vanish.
        lowest = entropy.masked_fill(~mask, math.inf).amin()
        return mean_one((-self.beta * (entropy - lowest)).exp(), mask)
