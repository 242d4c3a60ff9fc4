"""The file that keeps the rollouts of a step: its columns, and what its metadata says.

The trainer writes one per step (`trainer.rollout_data_dir`, `verl_egrsd.trainer.dump`); `verl-egrsd inspect`
reads them. Files of every format up to `FORMAT` are read.

Format 2 has the columns of `FIXED`, and one column of floats per array: what the method reads
(`teacher_entropy`), the weight of each factor (`entropy_gate`), `weight`, `advantage`, `credit`, and the
views of the trackers (`regime`). Format 1 had `advantages`, `ratio`, `gate` and `credit`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verl_egrsd import __version__

FORMAT = 2
"""Format of the files that this version writes. A file without a format has format 1."""
METADATA_KEY = b"verl_egrsd"
"""Key of the file's metadata; its value is JSON, see :func:`metadata`."""

FLOATS = pa.list_(pa.float32())
"""Type of an array: one number per token of the response."""
FIXED = {
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
}
"""Columns that every file has."""


def schema(arrays: Iterable[str]) -> pa.Schema:
    """Return the columns of a file with these arrays."""
    return pa.schema(FIXED | dict.fromkeys(arrays, FLOATS))


def arrays_of(file: Path) -> list[str]:
    """Return the names of a file's arrays."""
    return [column.name for column in pq.read_schema(file) if column.type.equals(FLOATS)]


def metadata(facts: Mapping[str, Any]) -> dict[bytes, str]:
    """Return the metadata of a new file.

    Args:
        facts: what holds for the whole file: `step`, `model`, `method` (its name) and `settings`
            (`algorithm.egrsd`, resolved). The version of the package and the format are added.
    """
    return {METADATA_KEY: json.dumps({**facts, "version": __version__, "format": FORMAT})}


def read_facts(file: Path) -> dict[str, Any]:
    """Return a file's metadata, with its `format`.

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
