"""How long each command ran, over all attempts: also those that were killed."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from verl_egrsd.output.files import write_completed

SPENT_FILE = "spent.jsonl"


class Spent(NamedTuple):
    """What a command took: seconds and attempts."""

    seconds: float
    attempts: int


@contextmanager
def spending(out: Path, name: str, log: Path) -> Iterator[None]:
    """Note the beginning and the end of an attempt.

    Args:
        out: folder of the reproduction.
        name: of the command.
        log: its log, which an attempt that was killed wrote last when it was last seen.
    """
    began = [entry for entry in _entries(out) if entry["name"] == name]
    if began and began[-1]["event"] == "begin" and log.exists():
        _note(out, name, "end", max(began[-1]["at"], log.stat().st_mtime))
    at, begun = time.time(), time.monotonic()
    _note(out, name, "begin", at)
    try:
        yield
    finally:
        _note(out, name, "end", at + time.monotonic() - begun)


def read_spent(out: Path) -> dict[str, Spent]:
    """Return what each command took so far, by its name, in the order of their first attempts."""
    seconds, attempts, begun = defaultdict[str, float](float), defaultdict[str, int](int), dict[str, float]()
    for entry in _entries(out):
        name = entry["name"]
        if entry["event"] == "begin":
            begun[name], attempts[name] = entry["at"], attempts[name] + 1
        else:
            seconds[name] += entry["at"] - begun.pop(name, entry["at"])
    return {name: Spent(seconds[name], count) for name, count in attempts.items()}


def _entries(out: Path) -> list[dict]:
    """Return all entries; the last line may be unfinished after a crash."""
    file = out / SPENT_FILE
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _note(out: Path, name: str, event: str, at: float) -> None:
    entries = [*_entries(out), {"name": name, "event": event, "at": round(at, 3)}]
    write_completed(out / SPENT_FILE, "".join(json.dumps(entry) + "\n" for entry in entries))
