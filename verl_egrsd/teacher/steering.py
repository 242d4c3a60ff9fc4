"""Steering: a teacher whose logits are moved by what a correct and a wrong rollout change in them.

With z the logits after the teacher's own prompt, and z_right and z_wrong those after prompts that show a
correct and a wrong rollout (OGLS-SD, arXiv 2605.12400),

    logits = z + strength * (z_right - z_wrong)

The head is linear, so hidden states that are combined in this way give these logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher.attempts import Attempt, Attempts

if TYPE_CHECKING:
    from torch import Tensor  # the command line knows the templates, and does not wait for torch

STEERING_PROMPTS = ("right_prompts", "wrong_prompts")
"""Columns of the two prompts beside the teacher's own."""
STEERING_TEMPLATE = "reflection"
"""Template of both; it shows a rollout and its verdict."""


class Contrast(NamedTuple):
    """A correct and a wrong rollout of one prompt."""

    right: Attempt
    wrong: Attempt


def contrast(rollouts: Attempts) -> Contrast | None:
    """Return what steers the teacher of a rollout; None where the prompt has no correct or no wrong one."""
    right, wrong = rollouts.sibling, rollouts.failure
    return None if right is None or wrong is None else Contrast(right, wrong)


def strength(teacher: TeacherConfig, step: int) -> float:
    """Return the strength at a step, counted from 1: it grows evenly from 0; 0 without steering."""
    if teacher.steering is None or teacher.steering_steps is None:
        return 0.0
    return teacher.steering * min(1.0, step / teacher.steering_steps)


def steered(own: Tensor, right: Tensor, wrong: Tensor, strength: float) -> Tensor:
    """Return the combined hidden states, (tokens, width), summed in float32 and in the precision of `own`."""
    return (own.float() + strength * (right.float() - wrong.float())).to(own.dtype)
