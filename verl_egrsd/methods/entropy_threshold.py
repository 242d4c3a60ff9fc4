"""Entropy threshold: learn where the teacher is undecided (EOPD, arXiv 2603.07079)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, Panel


@dataclass(frozen=True)
class EntropyThreshold(Factor):
    """w[i,t] = 1 if the teacher's entropy is above the threshold, else 0.

    It is the opposite of EGRSD's gate: one token says little of a distribution that is wide, so the student
    learns all of it there.

    Attributes:
        above: entropy, in nats; tokens above it are kept.
    """

    name: ClassVar[str] = "entropy_threshold"
    about_one: ClassVar[bool] = False
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("tokens whose teacher is undecided (share)", ("entropy_threshold/mean",)),
    )

    above: float = 0.8

    def __post_init__(self) -> None:
        """Refuse an entropy that does not exist."""
        self.check.number("above", lambda x: 0 <= x < float("inf"), "0 or more, in nats")

    @property
    def reads(self) -> frozenset[str]:
        """The teacher's entropy."""
        return frozenset({"teacher_entropy"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return w, (B, T)."""
        return (columns.column("teacher_entropy") > self.above).float()
