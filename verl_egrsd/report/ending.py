"""How a run ended, as seen by the trainer or by the process that started it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

How = Literal["running", "finished", "stopped", "failed"]
Ending = dict[str, Any]
"""`how`, `why` (None, or a sentence) and `at` (UTC); during a run, `at` is the time of its last step."""

LONGEST_REASON = 1000
"""Characters of an error that are kept."""


class RunEndedError(RuntimeError):
    """A run ended before its last step; the message is its last line."""


class RunStoppedError(RunEndedError):
    """A run ended because it was asked to."""


def ending(how: How, why: str | None = None) -> Ending:
    """Return an ending with the present time."""
    return {"how": how, "why": why, "at": now()}


def ending_by(error: BaseException) -> Ending:
    """Return the ending for an exception: `stopped` by the user, or `failed`."""
    cause = getattr(error, "cause", None) or error  # Ray wraps an exception of another process
    how: How = "stopped" if isinstance(cause, KeyboardInterrupt | SystemExit | RunStoppedError) else "failed"
    if isinstance(cause, RunEndedError):
        return ending(how, str(cause))
    return ending(how, f"{type(cause).__name__}: {cause}".removesuffix(": ")[:LONGEST_REASON])


@contextmanager
def noting(note: Callable[[Ending], None]) -> Iterator[None]:
    """Call `note` with the ending of the block; an exception is raised again, also if it cannot be noted."""
    try:
        yield
    except BaseException as error:
        try:
            note(ending_by(error))
        except OSError as unwritten:
            error.add_note(f"the report does not say so: {unwritten}")
        raise
    note(ending("finished"))


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
