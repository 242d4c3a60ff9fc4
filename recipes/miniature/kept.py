"""What is kept of a run, small enough to commit: its answers in short, and what its training measured.

The page is made from these files alone. So a measurement goes on wherever they are copied to: a machine that
has them trains and evaluates the other runs only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verl_egrsd.evaluation.tables import Floats, Table, read_tables
from verl_egrsd.output.files import write_completed
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import STEPS_FILE

SCHEMA = "verl_egrsd.miniature/1"
TRAINING = {
    "gate": "egrsd/entropy_gate/mean",
    "forks": "egrsd/regime/fork",
    "entropy": "egrsd/teacher_entropy/mean",
    "ratio": "egrsd/ratio/mean",
}
"""Metrics of the training; their means over all steps are kept."""
DIFFERENCE = "training/rollout_probs_diff_max"
STEP_SECONDS = "timing_s/step"


@dataclass(frozen=True)
class KeptRun:
    """A run: a training and the answers after it, or the answers of the model before any.

    Attributes:
        tokens: lengths of the answers in tokens: per sample (K), one per problem (P).
        correct: per sample, a digit per problem: 1 for right answers.
        truncated: the same for answers that ended at the limit of new tokens.
        problems: digest of the problems' ids, in their order.
        training: means over the steps, by the names of `TRAINING`; empty without a training.
        engines: by how much vLLM and the training engine differed at most on the probability of a sampled
            token; None without rollouts.
        step_seconds: seconds in training steps.
        made: where and with what it was made, for the page.
        plan: what runs of one page have in common.
    """

    tokens: list[list[int]]
    correct: list[str]
    truncated: list[str]
    problems: str
    training: dict[str, float]
    engines: float | None
    step_seconds: float
    made: dict[str, Any]
    plan: dict[str, Any]

    def table(self) -> Table:
        """Return the answers as `verl-egrsd eval` reads them; equal problems have equal ids.

        The vote of the majority is not kept, and NaN.
        """
        return Table(
            ids=tuple(f"{self.problems}/{i}" for i in range(len(self.tokens[0]))),
            tokens=np.array(self.tokens, dtype=np.float64).T,
            correct=_columns(self.correct),
            truncated=_columns(self.truncated),
            majority=np.full(len(self.tokens[0]), np.nan),
        )


def keep_run(
    evaluation: Path, training: Path | None, *, made: dict[str, Any], plan: dict[str, Any]
) -> KeptRun:
    """Read a run.

    Args:
        evaluation: folder that `verl-egrsd eval` wrote, over one benchmark.
        training: folder of the run; None for the model before training.
        made: see `KeptRun`.
        plan: see `KeptRun`.
    """
    (table,) = read_tables(evaluation).values()
    steps = [] if training is None else training_steps(read_steps(training / STEPS_FILE))
    columns = {name: [step[key] for step in steps if key in step] for name, key in TRAINING.items()}
    return KeptRun(
        tokens=table.tokens.T.astype(int).tolist(),
        correct=_digits(table.correct),
        truncated=_digits(table.truncated),
        problems=hashlib.sha256("\n".join(table.ids).encode()).hexdigest(),
        training={name: float(np.mean(values)) for name, values in columns.items() if values},
        engines=max((step[DIFFERENCE] for step in steps if DIFFERENCE in step), default=None),
        step_seconds=round(sum(step.get(STEP_SECONDS, 0.0) for step in steps), 1),
        made=made,
        plan=plan,
    )


def write_kept_run(path: Path, run: KeptRun) -> None:
    """Write a run as one line of JSON per field."""
    fields = {"schema": SCHEMA, **asdict(run)}
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in fields.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_completed(path, "{" + ",\n".join(lines) + "}\n")


def read_kept_run(path: Path, plan: Mapping[str, Any]) -> KeptRun:
    """Read a run.

    Args:
        path: file that `write_kept_run` wrote.
        plan: that of the measurement.

    Raises:
        ValueError: when it has another schema, or belongs to a measurement with another plan.
    """
    found = json.loads(path.read_text())
    if found.pop("schema", None) != SCHEMA:
        raise ValueError(f"{path} has not the schema {SCHEMA}: remove it, and the run is made again.")
    if found["plan"] != plan:
        raise ValueError(
            f"{path} belongs to a measurement with other settings ({found['plan']}, here {dict(plan)}): "
            "remove it, or choose another folder (OUT)."
        )
    return KeptRun(**found)


def _digits(values: Floats) -> list[str]:
    return ["".join(str(int(value)) for value in row) for row in values.T]


def _columns(digits: list[str]) -> Floats:
    return np.array([[float(digit) for digit in row] for row in digits]).T
