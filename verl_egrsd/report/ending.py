"""How a run ended, as far as anybody could see: the trainer, or the process that started it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

How = Literal["running", "finished", "stopped", "failed"]
Ending = dict[str, Any]
"""`how`, `why` (None, or a sentence) and `at`, in UTC; while a run goes on, the time of its last step."""

LONGEST_REASON = 1000
"""Characters of an error that are kept."""


def ending(how: How, why: str | None = None) -> Ending:
    """Return an ending of this moment."""
    return {"how": how, "why": why, "at": now()}


def ending_by(error: BaseException) -> Ending:
    """Return the ending that an exception makes: stopped by somebody, or failed."""
    cause = getattr(error, "cause", None) or error  # Ray wraps what was raised in another process
    how: How = "stopped" if isinstance(cause, KeyboardInterrupt | SystemExit) else "failed"
    return ending(how, f"{type(cause).__name__}: {cause}".removesuffix(": ")[:LONGEST_REASON])


@contextmanager
def noting(note: Callable[[Ending], None]) -> Iterator[None]:
    """Hand the ending of what runs inside to `note`, whatever it is; an exception goes on."""
    try:
        yield
    except BaseException as error:
        note(ending_by(error))
        raise
    note(ending("finished"))


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
