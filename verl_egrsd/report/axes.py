"""The axes of a small picture: places of values, round ticks, and numbers for a reader."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context
from typing import NamedTuple, TypeVar

import numpy as np

LARGE = 1000
"""From here on numbers have no decimals, and separators between thousands."""
_SLACK = 1e-9
"""A tick at the end of an axis is on it, also after rounding."""
_FOUR_DIGITS = Context(prec=4, rounding=ROUND_HALF_UP)
"""As JavaScript rounds: the page has the same numbers with and without its script."""
_Values = TypeVar("_Values", float, np.ndarray)


class Axis(NamedTuple):
    """An axis: the values of its ends, and where they are in the picture."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: _Values) -> _Values:
        """Return where a value is in the picture."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


class Tick(NamedTuple):
    """Place and label of a tick."""

    at: float
    label: str


def ticks(axis: Axis, about: int, least: float = 0.0) -> list[Tick]:
    """Return ticks at multiples of 1, 2 or 5 times a power of ten.

    Args:
        axis: the axis.
        about: how many there should be.
        least: smallest distance between two of them.
    """
    rough = max((axis.high - axis.low) / about, least)
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - _SLACK))
    first, last = math.ceil(axis.low / distance - _SLACK), math.floor(axis.high / distance + _SLACK)
    return [Tick(axis.place(n * distance), number(n * distance)) for n in range(first, last + 1)]


def number(value: float | None) -> str:
    """Return a number with four significant digits; None is a value that is not finite."""
    if value is None:
        return "not a number"
    if abs(value) >= LARGE:
        return f"{math.floor(value + 0.5):,}"
    return f"{_FOUR_DIGITS.create_decimal_from_float(value + 0.0).normalize():f}"
