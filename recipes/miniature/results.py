"""What was measured: every arm over its seeds, and the differences that the questions ask for.

The seeds of an arm answer the same problems. Their answers are pooled, as if each seed were another sample
of a problem, and intervals come from the bootstrap over problems of `verl-egrsd eval`. It leaves out
how much seeds differ; so the seeds are listed too. Many questions are asked at once, and some differences
would look real by chance: p-values are corrected by Holm's method over all of them. A difference counts as
clear only when its corrected p is below 0.05 and every seed of the one arm lies on the same side of every
seed of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from recipes.miniature.arms import Arm
from recipes.miniature.kept import TRAINING, KeptRun
from recipes.miniature.questions import Question
from verl_egrsd.evaluation.statistics import Series, bootstrap, interval
from verl_egrsd.evaluation.tables import Table
from verl_egrsd.output.intervals import Interval

METRICS = {"accuracy": "avg", "length": "length"}
"""The compared metrics, by their names in evaluations."""
LEVEL = 0.05
"""Chance that a measurement without any real difference has one that is called clear."""


@dataclass(frozen=True)
class Measured:
    """An arm.

    Attributes:
        arm: the arm itself.
        pooled: accuracy (share) and length (tokens) over all seeds: the value, then its replicates.
        seeds: accuracy and length of each seed.
        training: means over all seeds, by the names of `TRAINING`; empty without a teacher.
    """

    arm: Arm
    pooled: Mapping[str, Series]
    seeds: Sequence[Mapping[str, float]]
    training: Mapping[str, float]

    def interval(self, metric: str) -> Interval:
        """Return a pooled metric with its interval over problems."""
        return interval(self.pooled[metric])


@dataclass(frozen=True)
class Difference:
    """One metric of an arm minus that of another.

    Attributes:
        found: the difference with its interval.
        p: chance of a difference at least as large where there is none, corrected for all that were asked.
        clear: see the module.
    """

    found: Interval
    p: float
    clear: bool


def measure(arm: Arm, runs: Sequence[KeptRun]) -> Measured:
    """Return an arm, of what is kept of its seeds."""
    tables = [run.table() for run in runs]
    series = bootstrap(pool(tables), "miniature")
    means = {name: [run.training[name] for run in runs if name in run.training] for name in TRAINING}
    return Measured(
        arm=arm,
        pooled={metric: series[name] for metric, name in METRICS.items()},
        seeds=[
            {"accuracy": float(table.correct.mean()), "length": float(table.tokens.mean())}
            for table in tables
        ],
        training={name: float(np.mean(values)) for name, values in means.items() if values},
    )


def pool(tables: Sequence[Table]) -> Table:
    """Return the answers of all tables as samples of the same problems.

    Raises:
        ValueError: when the problems differ.
    """
    ids = tables[0].ids
    if any(table.ids != ids for table in tables):
        raise ValueError("the seeds were evaluated on different problems: evaluate them again, on the same.")
    return Table(
        ids=ids,
        tokens=np.concatenate([table.tokens for table in tables], axis=1),
        correct=np.concatenate([table.correct for table in tables], axis=1),
        truncated=np.concatenate([table.truncated for table in tables], axis=1),
        majority=np.mean([table.majority for table in tables], axis=0),
    )


def differences(
    questions: Sequence[Question], arms: Mapping[str, Measured]
) -> list[tuple[Question, dict[str, Difference]]]:
    """Return arm minus other for each metric, of each question whose two arms were measured."""
    asked = [question for question in questions if {question.arm, question.other} <= arms.keys()]
    pairs = [(arms[question.arm], arms[question.other]) for question in asked]
    series = [
        {metric: one.pooled[metric] - other.pooled[metric] for metric in METRICS} for one, other in pairs
    ]
    corrected = iter(holm([two_sided_p(each[metric]) for each in series for metric in METRICS]))
    return [
        (question, {metric: _difference(each[metric], next(corrected), metric, *pair) for metric in METRICS})
        for question, pair, each in zip(asked, pairs, series, strict=True)
    ]


def two_sided_p(series: Series) -> float:
    """Return the p-value of a value against zero: normal, with the standard deviation of its replicates."""
    value, error = abs(float(series[0])), float(series[1:].std(ddof=1))
    return erfc(value / error / sqrt(2)) if error else float(value == 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's method: the chance that any is below a level holds it."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _difference(series: Series, p: float, metric: str, one: Measured, other: Measured) -> Difference:
    ours, theirs = ([seed[metric] for seed in arm.seeds] for arm in (one, other))
    apart = min(ours) > max(theirs) or max(ours) < min(theirs)
    return Difference(interval(series), p, apart and p < LEVEL)
