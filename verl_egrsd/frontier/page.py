"""One HTML page with the picture and its numbers; it loads nothing."""

from __future__ import annotations

from collections.abc import Sequence

from verl_egrsd.frontier.pareto import POINTS_PER_SHARE, pareto_front
from verl_egrsd.frontier.picture import NUMBERED
from verl_egrsd.frontier.points import Point
from verl_egrsd.frontier.published import Published
from verl_egrsd.output.intervals import Interval
from verl_egrsd.output.pages import fill
from verl_egrsd.output.pictures import inline


def frontier_page(title: str, points: Sequence[Point], published: Published | None, svg: bytes) -> str:
    """Return the page.

    Args:
        title: heading of the page.
        points: in the order in which the picture numbers them.
        published: the grey points, numbered after the others.
        svg: the picture, with its identifiers.
    """
    front = pareto_front([point.place for point in points])
    return fill(
        "verl_egrsd.frontier",
        "page.html.jinja",
        "page.js",
        title=title,
        numbered=len(points) >= NUMBERED,
        rows=[row(point, on_front=i in front) for i, point in enumerate(points)],
        published=published,
        published_rows=[row(point) for point in published.points] if published else [],
        later_rows=later_rows(published),
        picture=inline(svg),
    )


def row(point: Point, *, on_front: bool = False) -> dict[str, str]:
    """Return the texts that table and tooltip show for a point."""
    return {
        "name": " ".join(point.name.split()),
        "accuracy": _with_interval(point.accuracy, POINTS_PER_SHARE, ".2f") + " %",
        "length": ("about " if point.about else "") + _with_interval(point.length, 1, ",.0f") + " tokens",
        "efficiency": f"{point.efficiency:.2f}",
        "front": "on the front" if on_front else "",
    }


def later_rows(published: Published | None) -> list[dict[str, str]]:
    """Return the texts of the published accuracies on the benchmarks of later papers."""
    return [
        {
            "name": found.name,
            "accuracy": f"{POINTS_PER_SHARE * found.accuracy:.2f} %",
            "source": f"{found.source}{', ' if found.note else ''}{found.note}",
        }
        for found in (published.later if published else [])
    ]


def _with_interval(interval: Interval, scale: float, form: str) -> str:
    low, high = (format(scale * end, form) for end in interval[1:])
    shown = interval.scaled(scale)
    return format(shown.value, form) if low == high else shown.text(lambda end: format(end, form))
