"""What a check found: fine, worth knowing, or in the way of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

REFUSED_WITH = (ValueError, ImportError, AssertionError, OSError, RuntimeError)
"""What a check raises where the run cannot work; verl's own checks are assertions."""


class Severity(Enum):
    """How a finding is marked."""

    FINE = "ok"
    DOUBT = "note"
    WRONG = "FAIL"


@dataclass(frozen=True)
class CheckLine:
    """A line of the answer.

    Attributes:
        about: what was checked, a word or two.
        text: a sentence; the remedy with it where something is wrong.
        level: how it is marked.
    """

    about: str
    text: str
    level: Severity = Severity.FINE

    def line(self) -> str:
        """Return the finding as a line; further lines of its text are indented."""
        return f"{self.level.value:<5} {self.about:<14} {self.text}".replace("\n", "\n" + " " * 21)


def doubt(about: str, text: str) -> CheckLine:
    """Return something that works but may not be meant."""
    return CheckLine(about, text, Severity.DOUBT)


def wrong(about: str, text: str) -> CheckLine:
    """Return something that keeps the run from working."""
    return CheckLine(about, text, Severity.WRONG)


def answers(about: str, check: Callable[[], Iterator[CheckLine]]) -> Iterator[CheckLine]:
    """Yield what a check finds; a refusal that it raises is a finding too."""
    try:
        yield from check()
    except REFUSED_WITH as error:
        yield wrong(about, str(error))
