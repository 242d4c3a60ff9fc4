"""The Pareto front, and lines of equal efficiency."""

from __future__ import annotations

from collections.abc import Sequence

from verl_egrsd.evaluation.statistics import POINTS_PER_SHARE, TOKENS_PER_UNIT


def iso_efficiency(level: float, length: float) -> float:
    """Return the accuracy, as a share, that has efficiency `level` at `length` tokens; may exceed 1."""
    return level * length / (POINTS_PER_SHARE * TOKENS_PER_UNIT)


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether `one` is at least as accurate and at most as long, and better in one of the two.

    Both are (accuracy, length).
    """
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (accuracy, length) that no point dominates, by rising length.

    Points that coincide are on the front together.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0], i))
    return [i for i in order if not any(dominates(other, points[i]) for other in points)]
