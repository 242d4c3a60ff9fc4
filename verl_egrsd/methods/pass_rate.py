"""Pass rate weight: a prompt counts most where half of its rollouts are correct (PACED, arXiv 2603.11178).

A prompt that the student always solves has nothing left to teach; one that it never solves is out of reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor

from verl_egrsd.credit.types import PerRow, PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import PASS_RATE, Columns, group_mean
from verl_egrsd.methods.part import Factor, Panel

Normalise = Literal["none", "mean"]
_Source = Literal["rollouts", "data"]


@dataclass(frozen=True)
class PassRate(Factor):
    """u[i] = p[i]^alpha (1 - p[i])^beta, where p[i] is the share of correct answers to the prompt.

    Attributes:
        alpha: power of p, more than 0.
        beta: power of 1 - p, more than 0.
        normalise: "none", or "mean": divided by the mean over the rollouts of the batch, where it is not 0.
        source: whose answers p counts: "rollouts": those of this step; "data": samples of an earlier model,
            whose share the row holds (`extra_info.pass_rate`), so that one rollout per prompt is enough.
    """

    name: ClassVar[str] = "pass_rate"
    about_one: ClassVar[bool] = False
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("rollouts of prompts that are always or never solved (share)", ("pass_rate/share_zero",)),
    )

    alpha: float = 1.0
    beta: float = 1.0
    normalise: Normalise = "none"
    source: _Source = "rollouts"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.number("alpha", lambda x: 0 < x < float("inf"), "a positive number")
        self.check.number("beta", lambda x: 0 < x < float("inf"), "a positive number")
        self.check.one_of("normalise", get_args(Normalise))
        self.check.one_of("source", get_args(_Source))

    @property
    def reads(self) -> frozenset[str]:
        """The pass rates of the data; or which rows answer the same prompt, and which are correct."""
        return frozenset({PASS_RATE.key} if self.source == "data" else {"problems", "correct"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerTokenOrRow:
        """Return u of each row, (B, 1); 0 for a prompt that is always or never solved."""
        passed = self._passed(columns)
        weights = passed**self.alpha * (1 - passed) ** self.beta
        if self.normalise == "mean" and weights.any():
            weights = weights / weights.mean()
        return weights.float().unsqueeze(1)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the share of rollouts without any weight."""
        return {"share_zero": (weights == 0).all(dim=1).double().mean()}

    def _passed(self, columns: Columns) -> PerRow:
        """Return p of each row, (B,), float64."""
        if self.source == "data":
            return columns.column(PASS_RATE.key).double()
        return group_mean(columns.correct.double(), columns.problems)
