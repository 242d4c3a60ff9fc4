"""The accuracy-length plane as a matplotlib figure; equal points and versions give equal bytes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from verl_egrsd.evaluation.statistics import POINTS_PER_SHARE, efficiency
from verl_egrsd.frontier.pareto import iso_efficiency, pareto_front
from verl_egrsd.frontier.points import Point
from verl_egrsd.frontier.published import Published
from verl_egrsd.output.pictures import COLOURS, GREY, PALE, style

WIDTH, HEIGHT, _LEGEND_LINE, LEGEND_HEADS = 9.0, 5.0, 0.18, 1.2
"""Inches; a picture grows beyond its height when the legend has more lines."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "*", "h", "<")
DARKER, PALER = 0.55, 0.5
"""Shares of a colour that its darker and its paler tone keep; black and white make up the rest."""
LABEL_WIDTH = 46
"""Characters of a line of the legend."""
NUMBERED = 8
"""From this number of points on, each carries its number: so many colours are hard to look up."""
MARGIN = 0.08
"""Empty space around the points, as a share of their spread."""
LEAST_SPREAD = (0.01, 0.02)
"""Smallest spread that the axes show: a share of accuracy, and a share of the longest length."""
ISO_LINES = 6
LABEL_SPACE = 0.07
"""Smallest distance between two labels at the upper edge, as a share of the width."""
HOVER_AREA = 320
"""Area around a point that reacts to the mouse in the HTML, in square points."""

Mark = Artist | ErrorbarContainer
"""A point's entry in the legend."""


def draw_frontier(points: Sequence[Point], published: Published | None, title: str) -> Figure:
    """Draw crosses of intervals, the Pareto front of `points`, lines of equal efficiency, published points.

    Filled markers are on the front, hollow ones are not; a published point is grey and does not affect the
    front. Each point carries the identifier `point-N` for the page, published ones after the others.
    """
    grey = published.points if published else []
    everything = [*points, *grey]
    with style(title + "".join(point.name for point in everything)):
        labels = [_label(point) for point in everything]
        if len(points) >= NUMBERED:
            labels = [f"{i}  {label}" for i, label in enumerate(labels, start=1)]
        height = max(HEIGHT, LEGEND_HEADS + _LEGEND_LINE * sum(1 + label.count("\n") for label in labels))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        _set_limits(axes, everything)
        _draw_iso_lines(axes, everything)
        front = pareto_front([point.place for point in points])
        _draw_front(axes, [points[i] for i in front])
        styles = zip(cycle(tones()), cycle(_MARKERS), strict=False)
        ours = [
            _draw_point(axes, point, colour, marker, filled=i in front)
            for i, (point, (colour, marker)) in enumerate(zip(points, styles, strict=False))
        ]
        others = [
            _draw_published(axes, point, marker) for point, marker in zip(grey, cycle(_MARKERS), strict=False)
        ]
        for i, point in enumerate(everything):
            axes.scatter(*_xy(point), s=HOVER_AREA, alpha=0, gid=f"point-{i}", zorder=10)
            if len(points) >= NUMBERED:
                axes.annotate(
                    str(i + 1), _xy(point), (4, 3), textcoords="offset points", fontsize=6.5, zorder=5
                )
        axes.set_title(title, loc="left", pad=16)
        axes.set(xlabel="mean response length (tokens)", ylabel="accuracy, avg@K (%)")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        source = f"published, {published.model}\n({published.source})" if published else ""
        _draw_legends(figure, ours, others, labels, source)
        return figure


def tones() -> list[str]:
    """Return the package's colours, then darker and paler tones of them; black has none.

    19 colours and 11 shapes repeat at different periods, which gives 209 different pairs.
    """
    darker = [_tone(colour, DARKER, 0) for colour in COLOURS[:-1]]
    paler = [_tone(colour, PALER, 1) for colour in COLOURS[:-1]]
    return [*COLOURS, *darker, *paler]


def _tone(colour: str, kept: float, towards: float) -> str:
    """Return a colour mixed with black (0) or white (1)."""
    red, green, blue = (kept * part + (1 - kept) * towards for part in to_rgb(colour))
    return to_hex((red, green, blue))


def numbers(point: Point) -> str:
    """Return accuracy and length of a point in words, as in the legend."""
    length = f"{'about ' if point.about else ''}{point.length.value:,.0f}"
    return f"{POINTS_PER_SHARE * point.accuracy.value:.1f} % at {length}"


def _xy(point: Point) -> tuple[float, float]:
    return point.length.value, POINTS_PER_SHARE * point.accuracy.value


def _set_limits(axes: Axes, points: Sequence[Point]) -> None:
    """Frame all intervals with a margin, within the possible values of both axes."""
    lengths = [end for point in points for end in point.length]
    percents = [POINTS_PER_SHARE * end for point in points for end in point.accuracy]
    least = (LEAST_SPREAD[1] * max(lengths), POINTS_PER_SHARE * LEAST_SPREAD[0])
    (left, right), (bottom, top) = (
        _framed(values, minimum) for values, minimum in zip((lengths, percents), least, strict=True)
    )
    axes.set_xlim(max(left, 0), right)
    axes.set_ylim(max(bottom, 0), min(top, POINTS_PER_SHARE))


def _framed(values: Sequence[float], least: float) -> tuple[float, float]:
    spread = max(max(values) - min(values), least)
    middle = (max(values) + min(values)) / 2
    return middle - (0.5 + MARGIN) * spread, middle + (0.5 + MARGIN) * spread


def _draw_iso_lines(axes: Axes, points: Sequence[Point]) -> None:
    """Draw lines of equal efficiency across the frame, labelled where they leave the frame."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    last_label = -math.inf
    for level in sorted(_levels(points), reverse=True):
        ends = [POINTS_PER_SHARE * iso_efficiency(level, x) for x in (left, right)]
        if ends[1] <= bottom or ends[0] >= top:
            continue
        leaves_right = ends[1] < top
        share = 1.0 if leaves_right else (top - ends[0]) / (ends[1] - ends[0])
        if not leaves_right and share - last_label < LABEL_SPACE:
            continue  # The label would cover that of the steeper line.
        last_label = share
        axes.plot((left, right), ends, ":", color=PALE, linewidth=0.9, zorder=1)
        axes.annotate(
            f"Eff {level:.4g}",
            (left + share * (right - left), min(ends[1], top)),
            (2, 1),
            textcoords="offset points",
            color=GREY,
            fontsize=7,
            ha="left" if leaves_right else "center",
            va="center" if leaves_right else "bottom",
        )


def _levels(points: Sequence[Point]) -> list[float]:
    """Return round efficiencies around those of the points and of the corners of their crosses."""
    worst = min(efficiency(point.accuracy.low, point.length.high) for point in points)
    best = max(efficiency(point.accuracy.high, point.length.low) for point in points)
    return [level for level in MaxNLocator(ISO_LINES).tick_values(worst, best) if level > 0]


def _draw_front(axes: Axes, front: Sequence[Point]) -> None:
    """Draw the stairs below which a point is dominated."""
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    corners = [_xy(point) for point in front]
    xs = [corners[0][0], *(x for x, _ in corners), right]
    ys = [bottom, *(y for _, y in corners), corners[-1][1]]
    axes.step(xs, ys, where="post", color="black", linewidth=0.9, dashes=(6, 2), zorder=1.5)


def _draw_point(axes: Axes, point: Point, colour: str, marker: str, *, filled: bool) -> Mark:
    x, y = _xy(point)
    accuracy = [POINTS_PER_SHARE * end for end in point.accuracy]
    return axes.errorbar(
        x,
        y,
        xerr=[[x - point.length.low], [point.length.high - x]],
        yerr=[[y - accuracy[1]], [accuracy[2] - y]],
        fmt=marker,
        color=colour,
        markerfacecolor=colour if filled else "white",
        markersize=6.5,
        elinewidth=0.9,
        zorder=4,
    )


def _draw_published(axes: Axes, point: Point, marker: str) -> Mark:
    return axes.plot(*_xy(point), marker, color=GREY, markersize=5, alpha=0.75, zorder=2)[0]


def _label(point: Point) -> str:
    """Return the legend's text, in lines that leave room for the picture."""
    text = f"{point.name}: {numbers(point)}"
    return "\n".join(textwrap.wrap(text, LABEL_WIDTH, subsequent_indent="  ", break_on_hyphens=False))


def _draw_legends(
    figure: Figure, ours: Sequence[Mark], grey: Sequence[Mark], labels: Sequence[str], published: str
) -> None:
    note = "accuracy at tokens; crosses: 95 %\nfilled: on the Pareto front (dashed)"
    _add_legend(figure, ours, labels, title=note, loc="outside right upper")
    if grey:
        _add_legend(figure, grey, labels[len(ours) :], title=published, loc="outside right lower")


def _add_legend(figure: Figure, marks: Sequence[Any], labels: Sequence[str], **settings: Any) -> None:
    """Set the labels afterwards: matplotlib leaves out those that begin with an underscore."""
    legend = figure.legend(marks, [" "] * len(marks), alignment="left", **settings)
    for entry, label in zip(legend.get_texts(), labels, strict=False):
        entry.set_text(label)
