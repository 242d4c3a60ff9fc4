"""Which scores of a reward function a run accepts (`scores` in the configuration)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from verl_egrsd.config import Checker

REFUSED = "verl_egrsd_refused"
"""Key of a verdict that says why the row has no usable score; "" where it has one."""
OnRefused = Literal["error", "drop"]


@dataclass(frozen=True)
class ScoreChecks:
    """What a score must be, and what becomes of a rollout without one.

    Attributes:
        range: lowest and highest score of the reward function's scale, both allowed.
        refused: what happens to a rollout without a usable score: "error" ends the run, "drop" leaves it out
            and counts it.
        time_limit: seconds for one call of the reward function.
    """

    range: tuple[float, float] = (0.0, 1.0)
    refused: OnRefused = "error"
    time_limit: float = 60.0

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        check = Checker("scores", self)
        if not _is_scale(self.range):
            raise ValueError(
                f"scores.range={self.range!r} is not allowed: it must be two finite numbers [LOWEST,HIGHEST]."
            )
        check.one_of("refused", get_args(OnRefused))
        check.number("time_limit", lambda x: 0 < x < math.inf, "positive, in seconds")

    def accepted(self, score: Any) -> float:
        """Return a score as a number.

        Args:
            score: what the reward function gave: a number, or an array or a tensor with one.

        Raises:
            ValueError: naming the value, where it is not a finite number within the scale.
        """
        number = score.item() if hasattr(score, "item") else score
        if not isinstance(number, Real):
            raise ValueError(f"it gave {score!r}, which is not a number")
        if not math.isfinite(number):
            raise ValueError(f"it gave {float(number)}")
        low, high = self.range
        value = float(number)
        if not low <= value <= high:
            raise ValueError(f"it gave {value:g}, outside scores.range=[{low:g}, {high:g}]")
        return value


def _is_scale(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(isinstance(value, int | float) and math.isfinite(value) for value in pair)
        and pair[0] < pair[1]
    )
