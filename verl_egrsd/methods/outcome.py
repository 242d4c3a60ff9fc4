"""Outcome: learn from the correct rollouts alone, or from the wrong ones alone (arms of arXiv 2605.06188)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from verl_egrsd.credit.types import PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor

_Keep = Literal["correct", "wrong"]


@dataclass(frozen=True)
class Outcome(Factor):
    """o[i] = 1 if rollout i is of the kind that is kept, else 0.

    Attributes:
        keep: "correct" or "wrong".
    """

    name: ClassVar[str] = "outcome"
    about_one: ClassVar[bool] = False

    keep: _Keep = "correct"

    def __post_init__(self) -> None:
        """Refuse other kinds."""
        self.check.one_of("keep", get_args(_Keep))

    @property
    def reads(self) -> frozenset[str]:
        """Which rows are correct."""
        return frozenset({"correct"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerTokenOrRow:
        """Return o of each row, (B, 1)."""
        kept = columns.correct if self.keep == "correct" else ~columns.correct
        return kept.float().unsqueeze(1)
