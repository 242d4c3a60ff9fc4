"""What was measured: every arm over its seeds, and the differences that the questions ask for.

The seeds of an arm answer the same problems. Their answers are pooled, as if each seed were another sample
of a problem, and intervals come from the bootstrap over problems of `verl-egrsd eval`. It leaves out
how much seeds differ; so the seeds are listed too, and a difference counts as clear only when its interval
leaves out zero and every seed of the one arm lies on the same side of every seed of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes.miniature.arms import Arm, Question
from verl_egrsd.evaluation.statistics import Series, bootstrap, interval
from verl_egrsd.evaluation.tables import Table, read_tables
from verl_egrsd.output.intervals import Interval
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import STEPS_FILE

METRICS = {"accuracy": "avg", "length": "length"}
"""The compared metrics, by their names in evaluations."""
TRAINING = {
    "gate": "egrsd/entropy_gate/mean",
    "forks": "egrsd/regime/fork",
    "entropy": "egrsd/teacher_entropy/mean",
    "ratio": "egrsd/ratio/mean",
}
"""Metrics of the training; the results hold their means over all steps."""


@dataclass(frozen=True)
class Measured:
    """An arm.

    Attributes:
        arm: the arm itself.
        pooled: accuracy (share) and length (tokens) over all seeds: the value, then its replicates.
        seeds: accuracy and length of each seed.
        training: means over the steps of all seeds, by the names of `TRAINING`; empty without a teacher.
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
    """One metric of an arm minus that of another, and whether it is clear (see the module)."""

    found: Interval
    clear: bool


def measure(arm: Arm, evaluations: Sequence[Path], trainings: Sequence[Path]) -> Measured:
    """Read an arm.

    Args:
        arm: which.
        evaluations: folders that `verl-egrsd eval` wrote, one per seed, over one benchmark.
        trainings: folders of the runs.
    """
    tables = [table for folder in evaluations for table in read_tables(folder).values()]
    series = bootstrap(pool(tables), "miniature")
    return Measured(
        arm=arm,
        pooled={metric: series[name] for metric, name in METRICS.items()},
        seeds=[
            {"accuracy": float(table.correct.mean()), "length": float(table.tokens.mean())}
            for table in tables
        ],
        training=_training(trainings),
    )


def largest_engine_difference(folders: Sequence[Path]) -> float:
    """Return by how much vLLM and the training engine disagreed on the probability of a sampled token."""
    return max(
        step["training/rollout_probs_diff_max"]
        for folder in folders
        for step in training_steps(read_steps(folder / STEPS_FILE))
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


def differences(question: Question, arms: Mapping[str, Measured]) -> dict[str, Difference]:
    """Return arm minus other for each metric."""
    one, other = arms[question.arm], arms[question.other]
    return {
        metric: _difference(interval(one.pooled[metric] - other.pooled[metric]), metric, one, other)
        for metric in METRICS
    }


def _difference(found: Interval, metric: str, one: Measured, other: Measured) -> Difference:
    ours, theirs = ([seed[metric] for seed in arm.seeds] for arm in (one, other))
    apart = min(ours) > max(theirs) or max(ours) < min(theirs)
    return Difference(found, apart and not found.covers_zero)


def _training(folders: Sequence[Path]) -> dict[str, float]:
    steps = [step for folder in folders for step in training_steps(read_steps(folder / STEPS_FILE))]
    columns = {name: [step[key] for step in steps if key in step] for name, key in TRAINING.items()}
    return {name: float(np.mean(values)) for name, values in columns.items() if values}
