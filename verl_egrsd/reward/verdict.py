"""What the verifier says about one response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Reason = Literal["correct", "wrong", "no_answer", "unparsed", "timeout", "error"]

REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, why, and what each of the two paths said.

    Attributes:
        correct: whether one of the two paths found the answer equal to the ground truth.
        reason: `correct`; `wrong`; `no_answer` (nothing boxed or marked after the reasoning); `unparsed`
            (math-verify cannot read the answer or the ground truth); `timeout`; `error` (the comparison
            failed or ran out of memory).
        extracted: the answer that was found, "" if there is none.
        strict: whether the normalised strings are equal.
        math: the verdict of rules and math-verify alone.
    """

    correct: bool
    reason: Reason
    extracted: str
    strict: bool
    math: Reason

    @classmethod
    def of(cls, extracted: str, *, strict: bool, math: Reason) -> Verdict:
        """Combine the two paths: an answer that one of them finds equal is correct."""
        reason: Reason = "correct" if strict else math
        return cls(reason == "correct", reason, extracted, strict, math)

    @property
    def disagreement(self) -> bool:
        """Whether only one of the two paths found the answer equal."""
        return self.strict != (self.math == "correct")
