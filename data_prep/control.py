"""Control tokens in the data, such as `<|im_end|>` in a problem: counted, with what becomes of them.

Nothing is changed here. In training a reference is shown with its control tokens as text, and a problem with
them stops the run, or is dropped or kept by choice (`data.checks.control_tokens`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from data_prep.rows import VerlRow
from verl_egrsd.reward.reasoning import REASONING_MARK
from verl_egrsd.teacher.control_tokens import ControlTokens

REASONING_MARKS = "reasoning marks in the problem"
PROBLEM, SOLUTION_TOKENS = "control tokens in the problem", "control tokens in the solution"
FATES: Mapping[str, str] = {
    PROBLEM: "training stops at such a prompt; data.checks.control_tokens=drop leaves these rows out, and "
    "keep keeps them where the tokens are meant",
    REASONING_MARKS: "they open nothing in a prompt, and stay",
    SOLUTION_TOKENS: "the teacher is shown them as text, `< think>` for `<think>`",
}
"""What becomes of the tokens, by the place where they stand."""


class _Place(NamedTuple):
    """A place in the row, which of its texts that is, and which of the found tokens count there."""

    place: str
    column: str
    counts: Callable[[str], bool]


FINDINGS = (
    _Place(PROBLEM, "problem", lambda token: not REASONING_MARK.fullmatch(token)),
    _Place(REASONING_MARKS, "problem", lambda token: bool(REASONING_MARK.fullmatch(token))),
    _Place(SOLUTION_TOKENS, "solution", lambda token: True),
)


class ControlTokenCounts:
    """Counts rows with control tokens.

    Args:
        tokens: what counts as one.

    Attributes:
        rows: rows by token, by place.
        first: the first row of each place, by its index in the source.
    """

    def __init__(self, tokens: ControlTokens) -> None:
        self._tokens = tokens
        self.rows: dict[str, Counter[str]] = {finding.place: Counter() for finding in FINDINGS}
        self.first: dict[str, int] = {}

    def facts(self) -> dict[str, dict[str, int]]:
        """Return the rows by token, for each place with tokens."""
        return {place: dict(self.rows[place].most_common()) for place in self.first}

    def count(self, rows: Sequence[VerlRow]) -> None:
        """Count the rows of one batch."""
        for row in rows:
            info = row["extra_info"]
            found = {column: self._tokens.found(info[column]) for column in ("problem", "solution")}
            if any(found.values()):
                self._note(info["index"], found)

    def notes(self) -> list[str]:
        """Return a sentence for each place with tokens: how many rows, the first, what becomes of them."""
        return [
            f"{place.capitalize()}, by rows: {_listed(self.rows[place])} (the first is row {first}): "
            f"{FATES[place]}."
            for place, first in self.first.items()
        ]

    def _note(self, index: int, found: Mapping[str, Sequence[str]]) -> None:
        for place, column, counts in FINDINGS:
            if tokens := list(filter(counts, found[column])):
                self.rows[place].update(tokens)
                self.first.setdefault(place, index)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{token} {count:,}" for token, count in counts.most_common())
