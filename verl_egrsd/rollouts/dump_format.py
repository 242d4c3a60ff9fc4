"""The file that keeps the rollouts of a step: its columns, and what its metadata says.

The trainer writes one per step (`trainer.rollout_data_dir`, `verl_egrsd.trainer.dump`); `verl-egrsd inspect`
reads them. Files of every format up to `FORMAT` are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verl_egrsd import __version__

FORMAT = 1
"""Of the files that are written now. A file without a format has format 1."""
METADATA_KEY = b"verl_egrsd"
"""Key of the file's metadata; its value is JSON, see :func:`metadata`."""

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


def metadata(facts: Mapping[str, Any]) -> dict[bytes, str]:
    """Return the metadata of a new file.

    Args:
        facts: what holds for the whole file: `step`, `model`, `settings`, `low`, `high`. The version
            of the package and the format are added.
    """
    return {METADATA_KEY: json.dumps({**facts, "version": __version__, "format": FORMAT})}


def read_facts(file: Path) -> dict[str, Any]:
    """Return what a file's metadata says, with its `format`.

    Raises:
        ValueError: for a file that the trainer did not write, or one of a later format.
    """
    found = pq.read_schema(file).metadata or {}
    if METADATA_KEY not in found:
        raise ValueError(
            f"{file} holds no rollouts of a training run: name a file or folder that was written under "
            "trainer.rollout_data_dir, or give this file as --data with a model."
        )
    facts = {"format": 1, **json.loads(found[METADATA_KEY])}
    if facts["format"] > FORMAT:
        raise ValueError(
            f"{file} has format {facts['format']}, written by verl_egrsd {facts['version']}; this version "
            f"({__version__}) reads formats up to {FORMAT}: read it with that version or a later one."
        )
    return facts


def is_dump(path: Path) -> bool:
    """Whether a path is a parquet file, or a folder of them."""
    return path.suffix == ".parquet" or any(path.glob("*.parquet"))
