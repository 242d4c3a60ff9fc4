"""The curves of the page: panels as small SVG pictures, and their numbers for the script that zooms.

With more steps than a panel has points, a point is the mean of several steps, and a band spans from the
lowest of them to the highest. `curves.js` draws the same for any range of steps.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from verl_egrsd.output.pictures import COLOURS
from verl_egrsd.report.axes import Axis, Tick, number, ticks
from verl_egrsd.report.curves import FEW, LINES, filled_panels, shown_name

FRAME = {"width": 360, "height": 180, "left": 46, "right": 12, "top": 8, "bottom": 20}
"""Size of a panel's picture and of the margins around its axes, in units of the SVG: about pixels."""
POINTS_AT_MOST = 120
"""Largest number of points of a curve in a panel."""
TICKS = {"x": 5, "y": 4}
"""About how many labels an axis has."""
SPARE = 0.06
"""Space above and below the curves, as a share of what they span."""
_DIGITS = 5
"""Significant digits of the numbers that the page holds."""

Numbers = Sequence[tuple[int, float | None]]
"""(step, value) pairs in ascending order of steps; None is a value that is not finite."""


class DrawnCurve(NamedTuple):
    """A curve for the template: name, classes, last number, and paths of an SVG; "" for one that is empty."""

    name: str
    look: str
    last: str
    line: str
    dots: str
    band: str


class DrawnPanel(NamedTuple):
    """A panel for the template."""

    title: str
    x: list[Tick]
    y: list[Tick]
    breaks: list[float]
    curves: list[DrawnCurve]


class Points(NamedTuple):
    """Means of a curve over bins of steps, each (N,); NaN where a bin has no finite value."""

    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def with_few_digits(curves: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Return curves with the digits that the page holds."""
    return {
        name: [(step, None if value is None else float(f"{value:.{_DIGITS}g}")) for step, value in curve]
        for name, curve in curves.items()
    }


def steps_per_point(first: int, last: int) -> int:
    """Return how many steps share a point of a curve."""
    return math.ceil((last - first + 1) / POINTS_AT_MOST)


def ends_of(curves: Mapping[str, Numbers]) -> tuple[int, int]:
    """Return the first and the last step that a curve has; (0, 0) without curves."""
    ends = [curve[end][0] for curve in curves.values() for end in (0, -1)]
    return min(ends, default=0), max(ends, default=0)


def drawn_panels(curves: Mapping[str, Numbers], breaks: Sequence[Mapping[str, Any]]) -> list[DrawnPanel]:
    """Draw the panels over all steps; a break is a line after its step."""
    first, last = ends_of(curves)
    alone = first == last  # stands in the middle
    x = Axis(first - alone, last + alone, FRAME["left"], FRAME["width"] - FRAME["right"])
    lines = [x.place(item["step"] + 0.5) for item in breaks if first <= item["step"] < last]
    drawn = []
    for title, names in filled_panels(curves):
        points = {name: binned(curves[name], first, last) for name in names}
        y = _vertical(points.values())
        paths = [
            _curve(name, index, points[name], curves[name][-1][1], x, y) for index, name in enumerate(names)
        ]
        drawn.append(DrawnPanel(title, ticks(x, TICKS["x"], least=1), ticks(y, TICKS["y"]), lines, paths))
    return drawn


def embedded_curves(curves: Mapping[str, Numbers], breaks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the script draws: the shape of a panel, the steps of the curves, and their values."""
    steps = {name: tuple(step for step, _ in curve) for name, curve in curves.items()}
    grids = list(dict.fromkeys(steps.values()))
    place = {grid: index for index, grid in enumerate(grids)}
    return {
        "box": FRAME,
        "points": POINTS_AT_MOST,
        "few": FEW,
        "margin": SPARE,
        "ticks": TICKS,
        "breaks": [item["step"] for item in breaks],
        "grids": grids,
        "panels": [
            [{"grid": place[steps[name]], "values": [value for _, value in curves[name]]} for name in names]
            for _, names in filled_panels(curves)
        ],
    }


def binned(curve: Numbers, first: int, last: int) -> Points:
    """Return the points of a curve between two steps."""
    steps, values = (np.array(column, dtype=np.float64) for column in zip(*curve, strict=True))
    bins = (steps - first) // steps_per_point(first, last)
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    finite = np.isfinite(values)
    count = np.add.reduceat(finite * 1.0, starts)
    some = np.where(count > 0, 1.0, np.nan)
    return Points(
        step=np.add.reduceat(steps, starts) / np.diff(starts, append=len(steps)),
        mean=some * np.add.reduceat(np.where(finite, values, 0.0), starts) / np.maximum(count, 1),
        low=some * np.minimum.reduceat(np.where(finite, values, np.inf), starts),
        high=some * np.maximum.reduceat(np.where(finite, values, -np.inf), starts),
    )


def _curve(name: str, index: int, points: Points, last: float | None, x: Axis, y: Axis) -> DrawnCurve:
    there = np.isfinite(points.mean)
    xs, ys = x.place(points.step[there]), y.place(points.mean[there])
    after_gap = np.concatenate([[True], ~there[:-1]])[there]
    places = [f"{a:.1f} {b:.1f}" for a, b in zip(xs, ys, strict=True)]
    line = "".join(f"{'M' if gap else 'L'}{at}" for at, gap in zip(places, after_gap, strict=True))
    dots = "".join(f"M{at}h0" for at in places) if len(places) <= FEW else ""
    band = ""
    if (points.high > points.low).any():
        upper, lower = (y.place(ends[there]) for ends in (points.high, points.low))
        around = [*zip(xs, upper, strict=True), *zip(xs[::-1], lower[::-1], strict=True)]
        band = f"M{'L'.join(f'{a:.1f} {b:.1f}' for a, b in around)}Z"
    look = f"c{index % len(COLOURS)} l{index % len(LINES)}"
    return DrawnCurve(shown_name(name), look, number(last), line, dots, band)


def _vertical(points: Collection[Points]) -> Axis:
    """Return the y axis: all values with a margin, and nothing below 0 if none is negative."""
    low, high = (np.concatenate([getattr(one, end) for one in points]) for end in ("low", "high"))
    there = np.isfinite(low)
    least, most = (float(low[there].min()), float(high[there].max())) if there.any() else (0.0, 1.0)
    margin = SPARE * (most - least or abs(most) or 1.0)
    bottom = max(least - margin, 0.0) if least >= 0 else least - margin
    return Axis(bottom, most + margin, FRAME["height"] - FRAME["bottom"], FRAME["top"])
