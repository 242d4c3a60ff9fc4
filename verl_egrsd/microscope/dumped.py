"""Rollouts that a training run wrote down: one parquet file per step, one row per rollout.

The trainer writes them beside verl's own files (`trainer.rollout_data_dir`, `verl_egrsd.trainer.dump`).
Credit, ratio and gate are those that the update used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from verl_egrsd.config import EgrsdConfig
from verl_egrsd.credit import TokenCredit
from verl_egrsd.microscope.rollout import Measured, Rollout, Run, complete, padded
from verl_egrsd.rollouts.dump_format import SCHEMA, read_facts


def read_run(path: Path) -> Run:
    """Read a file `STEP.parquet`, or all of them in a folder, in the order of the steps.

    Raises:
        ValueError: for a file that the trainer did not write, or files of runs with different settings.
    """
    files = list(path.glob("*.parquet")) if path.is_dir() else [path]
    dumps = sorted(((read_facts(file), file) for file in files), key=lambda dump: dump[0]["step"])
    settings = dumps[-1][0]["settings"]
    for facts, file in dumps:
        if facts["settings"] != settings:
            raise ValueError(
                f"{file} was written under other settings than {dumps[-1][1]}: name one file, or keep the "
                "dumps of different runs in different folders."
            )
    steps = [facts["step"] for facts, _ in dumps]
    return Run(
        name=str(path),
        settings=EgrsdConfig(**settings),
        facts={
            "rollouts from": f"training, step {steps[0]}" + (f" to {steps[-1]}" if len(steps) > 1 else ""),
            "model": dumps[-1][0]["model"],
        },
        rollouts=[rollout for facts, file in dumps for rollout in _rollouts(facts, file)],
    )


def _rollouts(facts: Mapping[str, Any], file: Path) -> list[Rollout]:
    rows = pq.read_table(file, schema=SCHEMA).to_pylist()
    batch = [_measured(row, f"step {facts['step']}, rollout {i}") for i, row in enumerate(rows)]
    credit = TokenCredit(**{name: padded(_column(rows, name)) for name in TokenCredit._fields})
    settings = EgrsdConfig(**facts["settings"])
    return complete(batch, credit, settings, low=facts["low"], high=facts["high"])


def _measured(row: Mapping[str, Any], name: str) -> Measured:
    same = ("problem", "student_prompt", "teacher_prompt", "ground_truth", "verdict", "reward", "truncated")
    return Measured(
        name=name,
        **{key: row[key] for key in same},
        tokens=tuple(row["tokens"]),
        student_log_prob=_array(row["student_log_prob"]),
        teacher_log_prob=_array(row["teacher_log_prob"]),
        entropy=_array(row["teacher_entropy"]),
        advantage=_array(row["advantages"]),
    )


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[np.ndarray]:
    return [_array(row[name]) for row in rows]


def _array(values: Sequence[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)
