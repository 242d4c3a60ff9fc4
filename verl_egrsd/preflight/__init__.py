"""Everything about a configuration that can be known before anything starts.

Called by `verl_egrsd.main` before Ray, and by the trainer itself, for those who start stock `main_ppo`.
"""

from __future__ import annotations

from dataclasses import asdict

from omegaconf import DictConfig, open_dict

from verl_egrsd.config import EgrsdConfig, TeacherConfig, build, resolve_egrsd
from verl_egrsd.preflight.precision import settle_precision
from verl_egrsd.preflight.reading import LOSSES, PLAIN_LOSS, TRAINER, lora_rank, plain, report_settings
from verl_egrsd.preflight.refusals import REFUSALS
from verl_egrsd.teacher.templates import get_template

__all__ = [
    "LOSSES",
    "PLAIN_LOSS",
    "REFUSALS",
    "TRAINER",
    "lora_rank",
    "plain",
    "preflight",
    "report_settings",
]


def preflight(config: DictConfig) -> tuple[EgrsdConfig, TeacherConfig]:
    """Resolve and check the settings of a run, and write the resolved values back.

    Args:
        config: the whole configuration of verl, ours included.

    Returns:
        the settings of the method and of the teacher.

    Raises:
        ValueError: naming key, value and remedy of the first thing that cannot work.
    """
    for refuses, message in REFUSALS:
        if refuses(config):
            raise ValueError(message(config) if callable(message) else message)
    get = config.algorithm.get
    egrsd = resolve_egrsd(
        get("adv_estimator"), plain(get("egrsd")), max_response_length=config.data.max_response_length
    )
    teacher = build(
        TeacherConfig, plain(config.actor_rollout_ref.get("teacher")), "actor_rollout_ref.teacher"
    )
    get_template(teacher.template)
    report_settings(config)
    _check_batch(config, egrsd)
    _check_temperature(config, teacher)
    settle_precision(config, egrsd)
    with open_dict(config):
        config.algorithm.egrsd = asdict(egrsd)
        config.actor_rollout_ref.teacher = asdict(teacher)
    return egrsd, teacher


def _check_batch(config: DictConfig, egrsd: EgrsdConfig) -> None:
    if egrsd.max_response_length < config.data.max_response_length:
        raise ValueError(
            f"algorithm.egrsd.max_response_length={egrsd.max_response_length} is below "
            f"data.max_response_length={config.data.max_response_length}: a longer answer would have no "
            "length bonus. Leave it unset."
        )
    rows = config.data.train_batch_size * config.actor_rollout_ref.rollout.n
    if isinstance(egrsd.denominator_group, int) and rows % egrsd.denominator_group:
        raise ValueError(
            f"algorithm.egrsd.denominator_group={egrsd.denominator_group} does not divide the {rows} "
            "rollouts of a step (data.train_batch_size * rollout.n): set it to a divisor, or to batch."
        )


def _check_temperature(config: DictConfig, teacher: TeacherConfig) -> None:
    rollout = config.actor_rollout_ref.rollout.temperature
    if teacher.temperature not in (None, rollout):
        raise ValueError(
            f"actor_rollout_ref.teacher.temperature={teacher.temperature} differs from "
            f"actor_rollout_ref.rollout.temperature={rollout}, at which the student is scored: the ratio "
            "compares one temperature. Remove it."
        )
