"""Counts control tokens in the data, such as `<|im_end|>` in a problem, and says how training treats them.

No row is changed here. In training, the teacher sees the control tokens of a reference as text. A problem
with control tokens stops the run, unless `data.checks.control_tokens` says to drop or keep such rows.
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
    "keep keeps them if the tokens are intended",
    REASONING_MARKS: "they have no effect in a prompt, and stay",
    SOLUTION_TOKENS: "the teacher is shown them as text, `< think>` for `<think>`",
}
"""How training treats the tokens, by the place where they occur."""


class _Place(NamedTuple):
    """A place in the row: its name, how to get its text, and which of the found tokens count there."""

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
        tokens: the control tokens to look for.

    Attributes:
        rows: number of rows by token, for each place.
        first: index in the source of the first such row, by place.
    """

    def __init__(self, tokens: ControlTokens) -> None:
        self._tokens = tokens
        self.rows: dict[str, Counter[str]] = {finding.place: Counter() for finding in FINDINGS}
        self.first: dict[str, int] = {}

    def facts(self) -> dict[str, dict[str, int]]:
        """Return the number of rows by token, for each place with tokens."""
        return {place: dict(self.rows[place].most_common()) for place in self.first}

    def count(self, rows: Sequence[VerlRow]) -> None:
        """Count the rows of one batch."""
        for row in rows:
            info = row["extra_info"]
            found = {column: self._tokens.found(info[column]) for column in ("problem", "solution")}
            if any(found.values()):
                self._note(info["index"], found)

    def notes(self) -> list[str]:
        """Return a sentence for each place with tokens: the number of rows, the first row, the treatment."""
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
