"""How long each command ran, over all attempts: also those that were killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from verl_egrsd.output.files import write_completed

SPENT_FILE = "spent.jsonl"


class Spent(NamedTuple):
    """What a command took: seconds, attempts, and the hours of the GPUs that it kept busy."""

    seconds: float
    attempts: int
    gpu_hours: float


@contextmanager
def spending(out: Path, name: str, *, gpus: int = 0) -> Iterator[None]:
    """Note the beginning and the end of an attempt.

    Args:
        out: folder of the reproduction.
        name: of the command.
        gpus: that it keeps busy.
    """
    at, begun = time.time(), time.monotonic()
    _note(out, name, "begin", at, gpus=gpus)
    try:
        yield
    finally:
        _note(out, name, "end", at + time.monotonic() - begun)


def close_killed(out: Path, name: str, log: Path) -> None:
    """Note the end of an attempt that was killed: its log was written last when it was last seen."""
    began = [entry for entry in _entries(out) if entry["name"] == name]
    if began and began[-1]["event"] == "begin" and log.exists():
        _note(out, name, "end", max(began[-1]["at"], log.stat().st_mtime))


def read_spent(out: Path) -> dict[str, Spent]:
    """Return what each command took so far, by its name, in the order of their first attempts."""
    spent, begun = dict[str, Spent](), dict[str, dict]()
    for entry in _entries(out):
        name = entry["name"]
        seconds, attempts, gpu_hours = spent.get(name, Spent(0.0, 0, 0.0))
        if entry["event"] == "begin":
            begun[name], attempts = entry, attempts + 1
        elif began := begun.pop(name, None):
            took = entry["at"] - began["at"]
            seconds, gpu_hours = seconds + took, gpu_hours + began["gpus"] * took / 3600
        spent[name] = Spent(seconds, attempts, gpu_hours)
    return spent


def _entries(out: Path) -> list[dict]:
    """Return all entries; the last line may be unfinished after a crash."""
    file = out / SPENT_FILE
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _note(out: Path, name: str, event: str, at: float, **more: int) -> None:
    entries = [*_entries(out), {"name": name, "event": event, "at": round(at, 3), **more}]
    write_completed(out / SPENT_FILE, "".join(json.dumps(entry) + "\n" for entry in entries))
