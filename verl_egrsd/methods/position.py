"""Position gate: less weight at the beginning of a response, where the teacher is less reliable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, Panel


@dataclass(frozen=True)
class Position(Factor):
    """w[i,t] = floor + (1 - floor) * sigmoid(((t - 1/2) / T[i] - middle) / width).

    The weight of PW-OPSD, arXiv 2605.21606. t counts the response tokens of the row from 1, T[i] is their
    number. The paper weighs a divergence over the vocabulary with it; here it weighs the credit of the
    sampled token, which is a combination of ours.

    Attributes:
        floor: weight that the gate falls to at the beginning (w_min), in [0, 1]; 1 switches the gate off.
        middle: share of the response after which the gate is half open (tau), in [0, 1].
        width: share of the response over which it opens (s): sigmoid(-1) to sigmoid(1) takes two of it.
    """

    name: ClassVar[str] = "position"
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("position gate", ("position/mean", "position/min", "position/max")),
    )

    floor: float = 0.25
    middle: float = 0.30
    width: float = 0.10

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.number("floor", lambda x: 0 <= x <= 1, "in [0, 1]; 1 switches the gate off")
        self.check.number("middle", lambda x: 0 <= x <= 1, "in [0, 1], a share of the response")
        self.check.number("width", lambda x: 0 < x <= 1, "in (0, 1], a share of the response")

    @property
    def reads(self) -> frozenset[str]:
        """Nothing beside the mask."""
        return frozenset()

    @property
    def off(self) -> bool:
        """With floor 1 every weight is 1."""
        return self.floor == 1

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return the gate, in [floor, 1]."""
        number = columns.response_mask.cumsum(dim=1)
        share = (number - 0.5) / columns.response_mask.sum(dim=1, keepdim=True).clamp(min=1)
        return self.floor + (1 - self.floor) * ((share - self.middle) / self.width).sigmoid()
