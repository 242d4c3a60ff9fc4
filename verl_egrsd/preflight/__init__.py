"""All checks of a run that are possible before anything starts.

`preflight` checks the configuration, `check_files` the files and functions that it names. `verl_egrsd.main`
calls both before Ray starts, and the trainer calls both under stock `main_ppo`, so both ways refuse and warn
alike. Read in this
order: `values` (one key out of range), `names` (names that verl looks up late), `rules` and `keys` (settings
of verl that change what the method means), `refusals` (settings that contradict each other), `lengths` (caps
of tokens), `precision` (precision of entropies), `divergence` (what one needs), `existing` (files and
functions), `pass_rates` (rows of the training data).
"""

from __future__ import annotations

import logging
from dataclasses import asdict

from omegaconf import DictConfig, open_dict

from verl_egrsd.config import DataChecks, TeacherConfig, build, resolve_teacher
from verl_egrsd.methods import Method, resolve
from verl_egrsd.preflight.contexts import settle_context
from verl_egrsd.preflight.divergence import check_divergence
from verl_egrsd.preflight.existing import check_files
from verl_egrsd.preflight.keys import check_keys
from verl_egrsd.preflight.lengths import check_lengths, settle_lengths
from verl_egrsd.preflight.names import check_names
from verl_egrsd.preflight.precision import settle_precision
from verl_egrsd.preflight.reading import (
    LOSSES,
    PLAIN_LOSS,
    TRAINER,
    lora_rank,
    loss_mode,
    plain,
    report_settings,
    score_checks,
    scoring_role,
)
from verl_egrsd.preflight.refresh import check_refresh
from verl_egrsd.preflight.refusals import REFUSALS, REMARKS
from verl_egrsd.preflight.rollout_sync import check_rollout_sync
from verl_egrsd.preflight.run_name import name_run
from verl_egrsd.preflight.values import check_engine, check_values
from verl_egrsd.teacher.templates import with_template_text
from verl_egrsd.watch.settings import watchdog_settings

logger = logging.getLogger(__name__)

__all__ = [
    "LOSSES",
    "PLAIN_LOSS",
    "REFUSALS",
    "REMARKS",
    "TRAINER",
    "check_files",
    "lora_rank",
    "plain",
    "preflight",
    "report_settings",
    "scoring_role",
]


def preflight(config: DictConfig) -> tuple[Method, TeacherConfig]:
    """Resolve and check the settings of a run, and write the resolved values back.

    One warning lists the settings that work but change what the run is.

    Args:
        config: the whole configuration of verl, ours included.

    Returns:
        the method with all its settings, and the settings of the teacher.

    Raises:
        ValueError: naming key, value and remedy of the first setting that cannot work.
    """
    check_engine(config)
    check_values(config)
    check_names(config)
    method, teacher = _settings(config)
    config.actor_rollout_ref.actor.policy_loss.loss_mode = loss_mode(config)
    named = check_keys(config)
    for refuses, message in REFUSALS:
        if refuses(config):
            raise ValueError(message(config))
    settle_lengths(config)
    name_run(config, method, teacher)
    report_settings(config)
    watchdog_settings(plain(config.get("watchdog")))
    check_lengths(config, method, teacher)
    _check_batch(config, method)
    _check_temperature(config, teacher)
    check_refresh(config, teacher, scored=method.uses_teacher)
    settle_precision(config, method, teacher)
    check_divergence(config, method, teacher)
    check_rollout_sync(config)
    named += [message(config) for holds, message in REMARKS if holds(config)]
    if named:
        logger.warning("settings that change what this run is:%s", "".join(f"\n  - {line}" for line in named))
    with open_dict(config):
        config.algorithm.egrsd = method.keys()
        config.actor_rollout_ref.teacher = asdict(teacher)
    return method, teacher


def _settings(config: DictConfig) -> tuple[Method, TeacherConfig]:
    algorithm = config.algorithm
    method = resolve(
        algorithm.adv_estimator,
        plain(algorithm.get("egrsd")),
        max_response_length=config.data.max_response_length,
    )
    given = with_template_text(plain(config.actor_rollout_ref.get("teacher")))
    teacher = settle_context(config, resolve_teacher(given, method.teacher))
    build(DataChecks, plain(config.data.get("checks")), "data.checks")
    score_checks(config)
    return method, teacher


def _check_batch(config: DictConfig, method: Method) -> None:
    cap, n = method.reward.max_response_length, config.actor_rollout_ref.rollout.n
    if cap is not None and cap < config.data.max_response_length:
        raise ValueError(
            f"algorithm.egrsd.max_response_length={cap} is below "
            f"data.max_response_length={config.data.max_response_length}: a longer answer would have no "
            "length bonus. Leave it unset."
        )
    if method.needs_group and n == 1:
        raise ValueError(
            f"algorithm.adv_estimator={method.name} compares the rollouts of a prompt, and "
            "actor_rollout_ref.rollout.n=1 gives it one: set n to 2 or more."
        )
    for factor in method.active:
        factor.check_batch(config.data.train_batch_size * n)


def _check_temperature(config: DictConfig, teacher: TeacherConfig) -> None:
    rollout = config.actor_rollout_ref.rollout.temperature
    if teacher.temperature not in (None, rollout):
        raise ValueError(
            f"actor_rollout_ref.teacher.temperature={teacher.temperature} differs from "
            f"actor_rollout_ref.rollout.temperature={rollout}, at which the student is scored: the ratio "
            "compares one temperature. Remove it."
        )
