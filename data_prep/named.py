"""Columns that a user names: `--columns problem=question,solution=response,answer=target`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection

ROLES = {
    "problem": ("problem", "question", "query", "prompt", "instruction", "input", "text"),
    "solution": ("solution", "response", "output", "completion", "rationale", "explanation", "cot"),
    "answer": ("answer", "ground_truth", "target", "label", "gold", "final"),
    "reasoning": (),
    "domain": (),
    "source": (),
}
"""The parts of a row that `--columns` can name, and words that often occur in the names of their columns."""


def suggested_flag(columns: Collection[str]) -> str:
    """Return a `--columns` flag for these columns; NAME stands for a part that no column seems to hold."""
    free, named = list(columns), {}
    for role in ("answer", "solution", "problem"):
        if (found := _alike(ROLES[role], free)) is not None:
            named[role] = found
            free.remove(found)
    if "answer" not in named:
        named.setdefault("solution", "NAME")
    parts = {"problem": "NAME"} | dict(reversed(named.items()))
    return f"--columns {','.join(f'{role}={name}' for role, name in parts.items())}"


def _alike(words: Collection[str], names: Collection[str]) -> str | None:
    """Return the first name that equals one of the words, else ends in one, else contains one."""
    tests: tuple[Callable[[str, str], bool], ...] = (str.__eq__, str.endswith, str.__contains__)
    found = (name for test in tests for word in words for name in names if test(name.lower(), word))
    return next(found, None)


def named_columns(written: str) -> dict[str, str]:
    """Return the columns by role of `--columns problem=question,solution=response`.

    Raises:
        argparse.ArgumentTypeError: for another form, or a role that is not in :data:`ROLES`.
    """
    named = dict(part.split("=", 1) for part in written.split(",") if "=" in part)
    if len(named) != written.count(",") + 1 or not named.keys() <= ROLES.keys() or "" in named.values():
        raise argparse.ArgumentTypeError(
            f"{written!r} is not PART=COLUMN,... with parts of {', '.join(ROLES)}"
        )
    return {role: name.strip() for role, name in named.items()}


def top_column(name: str) -> str:
    """Return the column of a dotted name such as `info.answer`."""
    return name.partition(".")[0]
