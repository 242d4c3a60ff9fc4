"""What a rollout earns: the length-shaped reward of a correct answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor

from verl_egrsd.credit import is_correct, length_shaped_reward
from verl_egrsd.credit.types import PerRow
from verl_egrsd.methods.part import Part


@dataclass(frozen=True)
class Reward(Part):
    """r = 1[score > correct_above] (1 + length_beta (1 - length / max_response_length)).

    Attributes:
        correct_above: an answer is correct when its score is above this.
        length_beta: weight of the length bonus in the reward of a correct answer.
        max_response_length: completion cap L_max of the length bonus, in tokens; None takes
            `data.max_response_length`.
    """

    name: ClassVar[str] = "reward"
    section: ClassVar[str] = ""

    correct_above: float = 0.5
    length_beta: float = 0.5
    max_response_length: int | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.number("correct_above", math.isfinite, "a finite number")
        self.check.number("length_beta", lambda x: x >= 0, "zero or more")
        if self.max_response_length is not None:
            self.check.integer("max_response_length", minimum=1)

    def correct(self, scores: Float[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Return which scores are those of correct answers, (B,).

        Raises:
            ValueError: if a score is NaN or infinite (names the row).
        """
        return is_correct(scores, self.correct_above)

    def rewards(self, correct: Bool[Tensor, " batch"], lengths: Int[Tensor, " batch"]) -> PerRow:
        """Return r of each row, (B,), float32.

        Args:
            correct: see :meth:`correct`.
            lengths: response tokens of each row.

        Raises:
            ValueError: for a length beyond the cap, or without a cap.
        """
        if self.max_response_length is None:
            raise ValueError("algorithm.egrsd.max_response_length is missing: set it.")
        return length_shaped_reward(correct, lengths, self.max_response_length, self.length_beta)
