"""The parts of rollouts that a teacher may read: the student's attempt, its verdict, a correct sibling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEFT_OUT = "\n[... the middle is left out here ...]\n"
"""Replaces the middle of a long attempt."""


@dataclass(frozen=True)
class Attempt:
    """One rollout, as the teacher may read it.

    Attributes:
        text: the response, without the tokens that end it.
        correct: whether its score is above `algorithm.egrsd.correct_above`.
        truncated: whether it does not end in an end token.
    """

    text: str
    correct: bool
    truncated: bool = False

    @property
    def verdict(self) -> str:
        """The verdict as a sentence."""
        if self.correct:
            return "Its final answer is correct."
        if self.truncated:
            return "It was cut off at the length limit before it reached a correct final answer."
        return "Its final answer is wrong."


@dataclass(frozen=True)
class Attempts:
    """A rollout and the other rollouts of its prompt.

    Attributes:
        own: the rollout that the teacher scores.
        others: the other rollouts of the same prompt.
    """

    own: Attempt
    others: tuple[Attempt, ...] = ()

    @property
    def sibling(self) -> Attempt | None:
        """The shortest correct one among the other rollouts; None if none is correct.

        Rollouts arrive in the order in which they finish, so the first one would differ between two runs.
        """
        correct = [other for other in self.others if other.correct]
        return min(correct, key=lambda other: (len(other.text), other.text), default=None)

    @property
    def failure(self) -> Attempt | None:
        """The shortest wrong one among the other rollouts, else this one if it is wrong; None if none is."""
        wrong = [other for other in self.others if not other.correct]
        own = None if self.own.correct else self.own
        return min(wrong, key=lambda other: (len(other.text), other.text), default=own)

    def text(self, mark: str) -> str:
        """Return the text for the mark `attempt`, `verdict` or `sibling`.

        Raises:
            ValueError: for `sibling` where no other rollout is correct.
        """
        if mark == "sibling":
            if self.sibling is None:
                raise ValueError("the template shows <<sibling>>, and no other rollout is correct.")
            return self.sibling.text
        return self.own.text if mark == "attempt" else self.own.verdict


EMPTY_ATTEMPTS = Attempts(Attempt("", correct=False, truncated=True), (Attempt("", correct=True),))
"""Rollouts without text and with the longest verdict, to measure a prompt without its rollouts."""


def shortened(text: str, most: int | None, tokenizer: Any) -> tuple[str, bool]:
    """Return a text of at most `most` tokens, and whether its middle was cut out; None keeps the whole text.

    The beginning is kept because it shows how the task was understood, and the end because it has the answer.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] if most is not None else []
    if most is None or len(ids) <= most:
        return text, False
    kept = max(0, most - len(tokenizer(LEFT_OUT, add_special_tokens=False)["input_ids"]))
    first, last = ids[: kept - kept // 2], ids[len(ids) - kept // 2 :]
    head, tail = (tokenizer.decode(part).strip("\N{REPLACEMENT CHARACTER}") for part in (first, last))
    return f"{head}{LEFT_OUT}{tail}", True
