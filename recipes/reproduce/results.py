"""The results of a reproduction: each arm over its seeds, and the paired differences between arms.

The answers of an arm's seeds are pooled, as if each seed were another sample of a problem. Intervals come
from the bootstrap over problems and leave out how much seeds differ, so each seed's average is kept too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from recipes.miniature.results import pool
from recipes.reproduce.plan import ARMS, BASE, Plan
from verl_egrsd.evaluation.compare import Comparison, compare_series
from verl_egrsd.evaluation.samples import read_settings
from verl_egrsd.evaluation.statistics import Series, average, bootstrap, interval
from verl_egrsd.evaluation.summary import AVERAGE, JSON_SUMMARY
from verl_egrsd.evaluation.tables import Table, read_tables
from verl_egrsd.frontier.points import Point

BASE_TITLE, BASE_METHOD = "no training", "no training"


@dataclass(frozen=True)
class ArmResult:
    """An arm, an earlier checkpoint of it, or the model before training.

    Attributes:
        name: of the arm, with the step of an earlier checkpoint, or `base`.
        title: in tables.
        method: row of the paper's table; None where the paper has none.
        seeds: average accuracy (a share) by seed; empty for the model before training.
        problems: number of problems by benchmark.
        series: metrics by benchmark over all seeds.
        settings: of its evaluations.
    """

    name: str
    title: str
    method: str | None
    seeds: Mapping[int, float]
    problems: Mapping[str, int]
    series: Mapping[str, Mapping[str, Series]]
    settings: Mapping[str, Any]

    @property
    def average(self) -> Mapping[str, Series]:
        """The unweighted mean over the benchmarks."""
        return average(self.series)

    def summary(self) -> dict[str, Any]:
        """Return what `summary.json` holds of one evaluation, over all seeds."""

        def metrics(found: Mapping[str, Series]) -> dict[str, Any]:
            return {name: interval(series)._asdict() for name, series in found.items()}

        return {
            "name": self.title,
            "settings": self.settings,
            "benchmarks": {
                name: {"problems": self.problems[name], **metrics(found)}
                for name, found in self.series.items()
            },
            AVERAGE: metrics(self.average),
        }

    def point(self) -> Point:
        """Return its place in the accuracy-length plane."""
        return Point(self.title, interval(self.average["avg"]), interval(self.average["length"]))


def read_results(plan: Plan) -> list[ArmResult]:
    """Return the model before training and the arms, as far as they have been evaluated."""
    base = {None: BASE} if _evaluated(plan.evaluation(BASE)) else {}
    found = [_arm(plan, BASE, BASE_TITLE, BASE_METHOD, base)] if base else []
    for arm, step in product(plan.arms, sorted({*plan.checkpoints, plan.steps})):
        names = {
            run.seed: name
            for run in plan.runs
            for name, of in run.evaluations().items()
            if run.arm == arm and of == step
        }
        done = {seed: name for seed, name in names.items() if _evaluated(plan.evaluation(name))}
        if not done:
            continue
        title, method = ARMS[arm]
        if step == plan.steps:
            found.append(_arm(plan, arm, title, method, done))
        else:
            found.append(_arm(plan, f"{arm}-step{step}", f"{title} after {step} steps", None, done))
    return found


def comparisons(results: Sequence[ArmResult]) -> Iterator[Comparison]:
    """Yield each row against the model before training, then EGRSD against the end of each other arm."""
    by_name = {result.name: result for result in results}
    pairs = [(result, by_name[BASE]) for result in results[1:]] if BASE in by_name else []
    if (ours := by_name.get("egrsd")) is not None:
        pairs += [(ours, other) for other in results if other.name in ARMS and other is not ours]
    for one, other in pairs:
        yield compare_series((one.title, other.title), (one.series, other.series), one.problems)


def _arm(plan: Plan, name: str, title: str, method: str | None, names: Mapping[Any, str]) -> ArmResult:
    tables = {seed: read_tables(plan.evaluation(found)) for seed, found in names.items()}
    pooled = {
        benchmark: pool([found[benchmark] for found in tables.values()]) for benchmark in _first(tables)
    }
    settings = read_settings(plan.evaluation(_first(names)))["identity"]["settings"]
    return ArmResult(
        name=name,
        title=title,
        method=method,
        seeds={seed: _mean_accuracy(found) for seed, found in tables.items() if seed is not None},
        problems={benchmark: len(table.ids) for benchmark, table in pooled.items()},
        series={benchmark: bootstrap(table, benchmark) for benchmark, table in pooled.items()},
        settings=settings,
    )


def _mean_accuracy(tables: Mapping[str, Table]) -> float:
    return sum(float(table.correct.mean()) for table in tables.values()) / len(tables)


def _evaluated(folder: Path) -> bool:
    return (folder / JSON_SUMMARY).exists()


def _first(found: Mapping[Any, Any]) -> Any:
    return next(iter(found.values()))


def versions(plan: Plan) -> dict[str, str]:
    """Return the versions that the first evaluation was made with."""
    folders = (plan.evaluation(name) for name in (BASE, *(run.name for run in plan.runs)))
    settings = next(folder / "settings.json" for folder in folders if _evaluated(folder))
    return json.loads(settings.read_text(encoding="utf-8"))["identity"]["versions"]
