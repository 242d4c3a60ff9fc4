"""Length-shaped reward: a correct answer earns more the shorter it is."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Num, Shaped
from torch import Tensor

from verl_egrsd.credit.checks import require, require_same_shape
from verl_egrsd.credit.types import PerRow


def is_correct(scores: Float[Tensor, " batch"], above: float = 0.5) -> Bool[Tensor, " batch"]:
    """Return which scores are those of correct answers, (B,).

    The default is midway between the verdicts 0 and 1: a format bonus of 0.1 does not make an answer correct,
    and a small penalty does not make a correct one wrong.

    Args:
        scores: what the reward function gave, (B,).
        above: scores above this are correct.

    Raises:
        ValueError: if a score is NaN or infinite (names the row).
    """
    for row, score in enumerate(scores.tolist()):
        require(math.isfinite(score), f"scores[{row}]", score, "a finite number; see the reward function")
    return scores > above


def length_shaped_reward(
    correct: Shaped[Tensor, " batch"],
    response_length: Num[Tensor, " batch"],
    max_response_length: int,
    beta: float = 0.5,
) -> PerRow:
    """Reward in [0, 1 + beta], (B,), float32.

        r[i] = 1[correct] * (1 + beta * (1 - length[i] / L_max))

    Wrong and unverifiable answers get 0: there is no negative reward.

    Args:
        correct: bool or 0/1, (B,).
        response_length: response tokens of each row, (B,).
        max_response_length: completion cap L_max, tokens.
        beta: weight of the length bonus, 0 or more.

    Raises:
        ValueError: if `correct` holds anything but 0 and 1, or a length is outside 0..L_max (names the row).
    """
    require(max_response_length >= 1, "max_response_length", max_response_length, "1 token or more")
    require(beta >= 0, "beta", beta, "0 (no length bonus) or more")
    require_same_shape(correct=correct, response_length=response_length)
    for row, value in enumerate(correct.tolist()):
        require(value in (0, 1), f"correct[{row}]", value, "True or False (1 or 0); see is_correct")
    for row, length in enumerate(response_length.tolist()):
        allowed = f"between 0 and max_response_length={max_response_length} tokens"
        require(0 <= length <= max_response_length, f"response_length[{row}]", length, allowed)
    bonus = beta * (1 - response_length.double() / max_response_length)
    return torch.where(correct == 1, 1 + bonus, 0.0).float()
