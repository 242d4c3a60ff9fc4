"""Summaries in; frontier.png, frontier.svg, frontier.html and a table for the terminal out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from verl_egrsd.evaluation.published import published_problems
from verl_egrsd.frontier.page import frontier_page, later_rows, row
from verl_egrsd.frontier.pareto import pareto_front
from verl_egrsd.frontier.picture import draw_frontier
from verl_egrsd.frontier.points import Point, read_points
from verl_egrsd.frontier.published import Published, published_points
from verl_egrsd.output.files import write_completed
from verl_egrsd.output.pictures import render

_COLUMNS = ("name", "accuracy", "length", "efficiency", "front")


def frontier(
    summaries: Sequence[str | Path],
    out: str | Path,
    *,
    benchmark: str | None = None,
    published: str | None = None,
    title: str | None = None,
) -> str:
    """Draw the accuracy-length plane and return its numbers as a table.

    Args:
        summaries: `summary.json` files of evaluations, or their folders; one point each.
        out: folder for frontier.png, frontier.svg and frontier.html, which are overwritten.
        benchmark: the benchmark to draw; None draws the macro averages.
        published: a model of `PUBLISHED_MODELS` whose published averages are drawn in grey.
        title: heading; None names the benchmark.

    Raises:
        ValueError: when the summaries cannot be compared with each other, or with published points, which are
            averages over the paper's benchmarks.
        FileNotFoundError: when a summary does not exist.
    """
    if published and benchmark:
        raise ValueError(
            f"published={published} with benchmark={benchmark}: the published lengths are averages over all "
            "benchmarks. Leave one of the two out."
        )
    points = read_points(summaries, benchmark, published_problems() if published else None)
    grey = published_points(published) if published else None
    title = title or f"Accuracy and length: {benchmark or 'average over the benchmarks'}"
    figure = draw_frontier(points, grey, title)
    svg = render(figure, "svg")
    out = Path(out)
    write_completed(out / "frontier.png", render(figure, "png"))
    write_completed(out / "frontier.svg", svg)
    write_completed(out / "frontier.html", frontier_page(title, points, grey, svg))
    return table(points, grey)


def table(points: Sequence[Point], published: Published | None = None) -> str:
    """Return the points as aligned columns: name, accuracy, length, Eff, whether on the front.

    Published accuracies, most of them without a length, follow in a table of their own, with their source.
    """
    front = pareto_front([point.place for point in points])
    rows = [row(point, on_front=i in front) for i, point in enumerate(points)]
    rows += [row(point) | {"front": "published"} for point in (published.points if published else [])]
    drawn = _aligned([dict(zip(_COLUMNS, ("model", "accuracy", "length", "Eff", ""), strict=True)), *rows])
    if published is None:
        return drawn
    head = f"Published accuracies for {published.model}, mean of {', '.join(published.later_benchmarks)}"
    return f"{drawn}\n\n{head}:\n{_aligned(later_rows(published))}"


def _aligned(lines: Sequence[Mapping[str, str]]) -> str:
    widths = {name: max(len(line[name]) for line in lines) for name in lines[0]}
    cells = ([line[name].ljust(width) for name, width in widths.items()] for line in lines)
    return "\n".join("  ".join(row).rstrip() for row in cells)
