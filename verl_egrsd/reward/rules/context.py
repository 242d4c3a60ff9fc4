"""What a rule may use while it compares two answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from verl_egrsd.reward.verdict import Reason


@dataclass(frozen=True)
class Context:
    """The problem, and the comparison of parts.

    Attributes:
        problem: text of the problem; None if it is not known.
        equal: judges a part of the answer against a part of the ground truth, both readable.
    """

    problem: str | None
    equal: Callable[[str, str], Reason]
