"""Published results of a model: points of the accuracy-length plane, and accuracies of later papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from verl_egrsd.evaluation.published import published_results
from verl_egrsd.evaluation.statistics import POINTS_PER_SHARE
from verl_egrsd.frontier.points import Point
from verl_egrsd.output.intervals import Interval


class Later(NamedTuple):
    """A published accuracy without a length.

    Attributes:
        name: of the method.
        source: the paper.
        accuracy: mean over the benchmarks of :class:`Published`, a share.
        note: what else the paper says of the number.
    """

    name: str
    source: str
    accuracy: float
    note: str


class Published(NamedTuple):
    """What papers report for a model.

    Attributes:
        source: the paper of the points.
        model: its name.
        points: accuracy and length.
        protocol: how the points were measured.
        later: accuracies of the same model from this paper and later ones, the highest first.
        later_benchmarks: what they are the mean of.
        later_protocol: how they were measured.
    """

    source: str
    model: str
    points: list[Point]
    protocol: str
    later: list[Later]
    later_benchmarks: list[str]
    later_protocol: str


def published_points(model: str) -> Published:
    """Return what is published for a model of `PUBLISHED_MODELS`: macro averages, and later accuracies."""
    published = published_results()
    points = [
        Point(
            row["method"],
            Interval(*[row["avg"] / POINTS_PER_SHARE] * 3),
            Interval(*[row["length"]] * 3),
            row["about"],
        )
        for row in published["models"][model]["rows"]
    ]
    later = published["later"]
    return Published(
        source=published["source"],
        model=published["models"][model]["title"],
        points=points,
        protocol=published["protocol"],
        later=_later(published, model),
        later_benchmarks=later["benchmarks"],
        later_protocol=later["protocol"],
    )


def _later(published: Mapping[str, Any], model: str) -> list[Later]:
    """Return the accuracies on the benchmarks that later papers report, those of the paper among them."""
    benchmarks = published["later"]["benchmarks"]
    rows = [
        {
            "method": row["method"],
            "source": published["source"],
            "accuracy": sum(row[name] for name in benchmarks) / len(benchmarks),
            "note": "",
        }
        for row in published["models"][model]["rows"]
    ]
    found = [
        Later(row["method"], row["source"], row["accuracy"] / POINTS_PER_SHARE, row["note"])
        for row in [*rows, *published["later"][model]]
    ]
    return sorted(found, key=lambda row: -row.accuracy)
