"""Rollouts that a training run wrote down: one parquet file per step, one row per rollout.

The trainer writes them beside verl's own files (`trainer.rollout_data_dir`, `verl_egrsd.trainer.dump`).
Credit, ratio and gate are those that the update used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verl_egrsd.config import EgrsdConfig
from verl_egrsd.credit import TokenCredit
from verl_egrsd.microscope.rollout import Measured, Rollout, Run, complete, padded

METADATA_KEY = b"verl_egrsd"
"""Key of the file's metadata; its value is JSON: `step`, `model`, `settings`, `low`, `high`, `version`."""

_FLOATS = pa.list_(pa.float32())
SCHEMA = pa.schema(
    {
        "step": pa.int64(),
        "uid": pa.string(),
        "problem": pa.string(),
        "student_prompt": pa.string(),
        "teacher_prompt": pa.string(),
        "ground_truth": pa.string(),
        "answer": pa.string(),
        "verdict": pa.string(),
        "score": pa.float32(),
        "reward": pa.float32(),
        "truncated": pa.bool_(),
        "response_ids": pa.list_(pa.int64()),
        "tokens": pa.list_(pa.string()),
        "response_mask": pa.list_(pa.int8()),
        "student_log_prob": _FLOATS,
        "teacher_log_prob": _FLOATS,
        "teacher_entropy": _FLOATS,
        "advantages": _FLOATS,
        "ratio": _FLOATS,
        "gate": _FLOATS,
        "credit": _FLOATS,
    }
)
"""Columns of a dump; lists have one entry per token of the response."""


def is_dump(path: Path) -> bool:
    """Whether a path is a parquet file, or a folder of them."""
    return path.suffix == ".parquet" or any(path.glob("*.parquet"))


def read_run(path: Path) -> Run:
    """Read a file `STEP.parquet`, or all of them in a folder, in the order of the steps.

    Raises:
        ValueError: for a file that the trainer did not write, or files of runs with different settings.
    """
    files = list(path.glob("*.parquet")) if path.is_dir() else [path]
    dumps = sorted(((_facts(file), file) for file in files), key=lambda dump: dump[0]["step"])
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


def _facts(file: Path) -> dict[str, Any]:
    metadata = pq.read_schema(file).metadata or {}
    if METADATA_KEY not in metadata:
        raise ValueError(
            f"{file} holds no rollouts of a training run: name a file or folder that was written under "
            "trainer.rollout_data_dir, or give this file as --data with a model."
        )
    return json.loads(metadata[METADATA_KEY])


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
