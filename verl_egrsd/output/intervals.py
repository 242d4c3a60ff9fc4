"""A measured value and how far it would move with other problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


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
