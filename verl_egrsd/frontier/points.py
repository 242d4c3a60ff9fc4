"""Points of the accuracy-length plane, from summaries of evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_egrsd.evaluation.statistics import efficiency
from verl_egrsd.evaluation.summary import read_summary
from verl_egrsd.output.intervals import Interval


@dataclass(frozen=True)
class Point:
    """A model in the accuracy-length plane.

    Attributes:
        name: what the legend calls it.
        accuracy: avg@K as a share.
        length: mean response length, tokens.
        about: the source gives the length as approximate.
    """

    name: str
    accuracy: Interval
    length: Interval
    about: bool = False

    def __post_init__(self) -> None:
        """Refuse an accuracy or length that is impossible, or that lies outside its interval."""
        for name, interval, allowed in (
            ("accuracy", self.accuracy, "a share in [0, 1]"),
            ("length", self.length, "a positive number of tokens"),
        ):
            value, low, high = interval
            possible = low >= 0 and high <= 1 if name == "accuracy" else low > 0 and math.isfinite(high)
            if not (low <= value <= high and possible):
                raise ValueError(
                    f"{self.name} has the {name} {value} in [{low}, {high}]: it must be {allowed}, inside "
                    "its interval."
                )

    @property
    def place(self) -> tuple[float, float]:
        """Accuracy and length without their intervals."""
        return self.accuracy.value, self.length.value

    @property
    def efficiency(self) -> float:
        """Percent points per 1,000 tokens."""
        return efficiency(*self.place)


def read_points(
    paths: Sequence[str | Path],
    benchmark: str | None = None,
    published: Mapping[str, int] | None = None,
) -> list[Point]:
    """Return one point per summary, in the order given.

    Args:
        paths: summary files, or folders that hold a `summary.json`.
        benchmark: a benchmark that all of them have; None takes the macro average.
        published: number of problems by benchmark of published averages that will stand beside the points.

    Raises:
        ValueError: when a file is not a summary, two have the same name, or they are not comparable with each
            other or with the published averages.
        FileNotFoundError: when there is no such file.
    """
    summaries = {str(path): read_summary(Path(path)) for path in paths}
    _require_distinct_names(summaries)
    sizes = {path: _sizes(summary, benchmark) for path, summary in summaries.items()}
    _require_same_problems(sizes, summaries, benchmark)
    for path, found in sizes.items():
        if published is not None and found != published:
            raise ValueError(
                f"{path} covers {_listed(found)}, but the published averages are over {_listed(published)}: "
                "they cannot be compared. Leave --published out, or evaluate on the paper's benchmarks."
            )
    return [_point(path, summary, benchmark) for path, summary in summaries.items()]


def _require_distinct_names(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for path, summary in summaries.items():
        name = summary["name"]
        if name in seen:
            raise ValueError(f"{seen[name]} and {path} are both called {name!r}: give one another name.")
        seen[name] = path


def _sizes(summary: Mapping[str, Any], benchmark: str | None) -> dict[str, int]:
    """Return the number of problems by benchmark."""
    return {
        name: facts["problems"] for name, facts in summary["benchmarks"].items() if benchmark in (None, name)
    }


def _require_same_problems(
    sizes: Mapping[str, Mapping[str, int]], summaries: Mapping[str, Mapping[str, Any]], benchmark: str | None
) -> None:
    """Refuse summaries over different benchmarks, or over different numbers of their problems."""
    first = next(iter(sizes))
    for path, found in sizes.items():
        if benchmark is not None and not found:
            known = ", ".join(summaries[path]["benchmarks"])
            raise ValueError(f"{path} has no benchmark {benchmark!r}; it has {known}.")
        if found != sizes[first]:
            raise ValueError(
                f"{first} covers {_listed(sizes[first])}, but {path} covers {_listed(found)}: points over "
                "different problems cannot be compared. Choose a benchmark that they share, or evaluate "
                "both on the same problems."
            )


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({problems} problems)" for name, problems in sizes.items())


def _point(path: str, summary: Mapping[str, Any], benchmark: str | None) -> Point:
    metrics = summary["average"] if benchmark is None else summary["benchmarks"][benchmark]
    missing = [name for name in ("avg", "length") if name not in metrics]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}: evaluate the model again.")
    accuracy, length = (
        Interval(*(metrics[name][end] for end in Interval._fields)) for name in ("avg", "length")
    )
    return Point(summary["name"], accuracy, length)
