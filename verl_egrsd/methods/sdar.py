"""SDAR's gate: the advantage of a token rises where the teacher endorses it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, Panel


@dataclass(frozen=True)
class Sdar(Factor):
    """w[i,t] = 1 + coef * sign(A[i]) * g[i,t], g = sigmoid(gate_beta * (log p_T - log p_S)).

    SDAR, arXiv 2605.15155, adds coef * mean of sg[g] * (log p_T - log p_S) to the loss of GRPO. The teacher
    has no gradient, so this adds coef * g to the credit of the sampled token: A + coef * g. A factor
    multiplies: ours is A + coef * |A| * g, the same where |A| = 1. A rollout with A = 0 teaches nothing here;
    SDAR distils on it as well.

    Attributes:
        coef: weight of the distillation, in [0, 1]; 0 switches it off.
        gate_beta: steepness of the gate, per nat, above 0.
    """

    name: ClassVar[str] = "sdar"
    centre: ClassVar[float | None] = 1.0
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("SDAR's gate", ("sdar/gate",)),
        Panel("share of tokens that the teacher endorses", ("sdar/share_endorsed",)),
    )

    coef: float = 0.1
    gate_beta: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        allowed = "in [0, 1], so that the advantage keeps its sign; 0 switches the distillation off"
        self.check.number("coef", lambda x: 0 <= x <= 1, allowed)
        self.check.number("gate_beta", lambda x: 0 < x < math.inf, "positive and finite")

    @property
    def reads(self) -> frozenset[str]:
        """Both log-probs of the sampled token."""
        return frozenset({"student_log_prob", "teacher_log_prob"})

    @property
    def off(self) -> bool:
        """With coef 0 every weight is 1."""
        return self.coef == 0

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return w, in [1 - coef, 1 + coef]; exactly 1 where the advantage is 0."""
        return 1 + self.coef * advantages.sign() * self.gate(columns)

    def gate(self, columns: Columns) -> PerToken:
        """Return g, in [0, 1], (B, T)."""
        return (self.gate_beta * columns.log_ratio()).sigmoid()

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the mean gate, and the share of tokens that the teacher finds likelier than the student."""
        mask = columns.response_mask
        endorsed = columns.log_ratio()[mask] > 0
        return {"gate": self.gate(columns)[mask].mean(), "share_endorsed": endorsed.float().mean()}
