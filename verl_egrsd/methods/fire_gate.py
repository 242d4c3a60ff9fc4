"""FiRe-OPD's token weight: more where the teacher is sure and the student is not, mean 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from verl_egrsd.credit import mean_one
from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, Panel

SMALLEST_MAXIMUM = 1e-6
"""Nats; lower bound of the largest entropy of a batch."""


@dataclass(frozen=True)
class FireGate(Factor):
    """w[i,t] = u / mean u, u = (1 + alpha * (1 - H_T / max H_T)) * (1 + beta * H_S / max H_S).

    FiRe-OPD, arXiv 2606.02684. Both maxima and the mean are over the response tokens of the batch. The paper
    weighs log p_T - log p_S with it and drops the fifth of the rollouts that its external teacher finds least
    likely; here it weighs the credit, and every rollout counts. That is a combination of ours.

    Attributes:
        alpha: weight of the teacher's confidence, 0 or more.
        beta: weight of the student's uncertainty, 0 or more. With both 0 the gate is off.
    """

    name: ClassVar[str] = "fire_gate"
    centre: ClassVar[float | None] = 1.0
    panels: ClassVar[tuple[Panel, ...]] = (Panel("FiRe-OPD's gate", ("fire_gate/min", "fire_gate/max")),)

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name in ("alpha", "beta"):
            self.check.number(name, lambda x: 0 <= x < math.inf, "0 or more and finite")

    @property
    def reads(self) -> frozenset[str]:
        """Both entropies."""
        return frozenset({"student_entropy", "teacher_entropy"})

    @property
    def off(self) -> bool:
        """With alpha and beta 0 every weight is 1."""
        return self.alpha == self.beta == 0

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return w, with mean 1 over the response tokens; 0 outside the mask."""
        confidence = 1 - _of_maximum(columns.column("teacher_entropy"))
        uncertainty = _of_maximum(columns.column("student_entropy"))
        weights = (1 + self.alpha * confidence) * (1 + self.beta * uncertainty)
        return mean_one(weights, columns.response_mask)


def _of_maximum(entropy: PerToken) -> PerToken:
    """Return entropies divided by their largest, in [0, 1]; rounding may have left some below 0."""
    return (entropy / entropy.amax().clamp(min=SMALLEST_MAXIMUM)).clamp(min=0)
