"""A measured value and how far it would move with other problems."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

NORMAL = 1.959964
"""97.5 % quantile of the normal distribution."""


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval; a published value has none, so all three are equal."""

    value: float
    low: float
    high: float

    @property
    def covers_zero(self) -> bool:
        """Whether a difference of zero is in the interval."""
        return self.low <= 0 <= self.high

    def scaled(self, factor: float) -> Interval:
        """Return the interval in another unit; `factor` is positive."""
        return Interval(*(factor * end for end in self))

    def text(self, show: Callable[[float], str]) -> str:
        """Return the value with its interval in brackets."""
        return f"{show(self.value)} [{show(self.low)}, {show(self.high)}]"


def wilson(share: float, count: int) -> Interval:
    """Return a share of independent trials with its 95 % interval (Wilson, 1927).

    Args:
        share: between 0 and 1; it need not be a whole number of trials.
        count: number of trials, 1 or more.
    """
    middle = (share + NORMAL**2 / (2 * count)) / (1 + NORMAL**2 / count)
    half = NORMAL * sqrt(share * (1 - share) / count + (NORMAL / (2 * count)) ** 2) / (1 + NORMAL**2 / count)
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))
