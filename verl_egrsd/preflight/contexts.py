"""Checks the teacher's template: it exists, and the prompt has room for the rollouts that it shows."""

from __future__ import annotations

from dataclasses import replace

from omegaconf import DictConfig

from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher.steering import STEERING_TEMPLATE
from verl_egrsd.teacher.templates import KEY, get_template

FALLBACK = "actor_rollout_ref.teacher.without_sibling"
STEERING = "actor_rollout_ref.teacher.steering"
SPELLED = 64
"""Tokens that a whole response may add beyond its own, because its control tokens are spelled."""


def settle_context(config: DictConfig, teacher: TeacherConfig) -> TeacherConfig:
    """Check the teacher's template against the run, and fill in the longest rollout that it may show.

    Args:
        config: the whole configuration.
        teacher: its section `actor_rollout_ref.teacher`, with the text of a template file read.

    Returns:
        the section, with `max_rollout_tokens` where the template shows rollouts.

    Raises:
        ValueError: for an unknown template, a sibling or steering without other rollouts, or too little room.
    """
    template = get_template(teacher.template, teacher.template_text)
    rollouts = config.actor_rollout_ref.rollout.n
    fallback = get_template(teacher.without_sibling, key=FALLBACK)
    if "sibling" in fallback.marks:
        raise ValueError(
            f"{FALLBACK}={teacher.without_sibling} shows a sibling too: choose another template, such as "
            "none or reference_solution."
        )
    if "sibling" in template.marks and rollouts < 2:
        raise ValueError(
            f"{KEY}={teacher.template} shows another rollout of the same prompt, and "
            f"actor_rollout_ref.rollout.n={rollouts} gives no other rollout: set n to 2 or more (and "
            "data.train_batch_size to fewer prompts, for as many rollouts)."
        )
    if teacher.steering is not None and rollouts < 2:
        raise ValueError(
            f"{STEERING}={teacher.steering} compares rollouts of one prompt, and "
            f"actor_rollout_ref.rollout.n={rollouts} gives no other rollout: set n to 2 or more (and "
            "data.train_batch_size to fewer prompts, for as many rollouts), or leave it unset."
        )
    shown = template.rollouts_shown
    if "sibling" in template.marks:
        shown = max(shown, fallback.rollouts_shown)
    if teacher.steering is not None:
        shown = max(shown, get_template(STEERING_TEMPLATE).rollouts_shown)
    if not shown:
        return teacher
    most = teacher.max_rollout_tokens or config.data.max_response_length + SPELLED
    _check_room(config, teacher, shown, most)
    return replace(teacher, max_rollout_tokens=most)


def _check_room(config: DictConfig, teacher: TeacherConfig, shown: int, most: int) -> None:
    """Refuse a cap that the longest task and rollouts exceed without the template's own text."""
    needed = config.data.max_prompt_length + shown * most
    if teacher.max_prompt_length <= needed:
        raise ValueError(
            f"actor_rollout_ref.teacher.max_prompt_length={teacher.max_prompt_length} has no room for what "
            f"{KEY}={teacher.template} shows: {shown} times up to teacher.max_rollout_tokens={most} of a "
            f"rollout, after up to data.max_prompt_length={config.data.max_prompt_length} of the task. Raise "
            f"it above {needed}, or lower actor_rollout_ref.teacher.max_rollout_tokens."
        )
