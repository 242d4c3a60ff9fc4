"""The files of a checkpoint, one at a time: whether one was written to its end, and what it should hold."""

from __future__ import annotations

import json
import pickletools
import zipfile
from io import StringIO
from pathlib import Path
from typing import Any


def json_problem(path: Path, key: str | None = None) -> str | None:
    """Return what is wrong with a file that should hold a JSON object with this key; None if nothing is."""
    if problem := _empty(path):
        return problem
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        return f"is cut off or damaged ({error})"
    if not isinstance(found, dict):
        return "does not hold a JSON object"
    return f"lacks the key {key}" if key is not None and key not in found else None


def torch_problem(path: Path) -> str | None:
    """Return what is wrong with a file that torch wrote; None if nothing is. Its numbers are not read."""
    # torch writes a zip archive, whose directory is its end: a file that is cut off has none.
    if problem := _empty(path):
        return problem
    if not zipfile.is_zipfile(path):
        return f"is cut off or damaged ({path.stat().st_size:,} bytes)"
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.namelist():
                archive.open(record).close()
                if record.endswith("/data.pkl"):
                    pickletools.dis(archive.read(record), out=StringIO())
    except Exception as error:  # the readers of damaged archives and pickles raise anything
        return f"is damaged ({error})"
    return None


def file_sentence(path: Path, problem: str, holds: str) -> str:
    """Return a sentence that says what is wrong with a file, and what it should hold."""
    return f"{path} {problem}; it should hold {holds}."


def read_object(path: Path, holds: str, key: str | None = None) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        holds: what it should hold, for the message.
        key: a key that it must have.

    Raises:
        ValueError: when it is missing, or does not hold a whole JSON object with this key.
    """
    if problem := json_problem(path, key):
        raise ValueError(file_sentence(path, problem, holds))
    return json.loads(path.read_text(encoding="utf-8"))


def _empty(path: Path) -> str | None:
    if not path.is_file():
        return "is missing"
    return None if path.stat().st_size else "is empty"
