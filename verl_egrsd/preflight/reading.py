"""Reads verl's configuration: names, sections, and values that verl stores twice."""

from __future__ import annotations

import json
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.checkpoints.places import config_file
from verl_egrsd.config import TeacherConfig, build
from verl_egrsd.methods import methods
from verl_egrsd.report.settings import ReportConfig, resolve_report
from verl_egrsd.reward.acceptance import ScoreChecks

TRAINER = "egrsd_sync"
VERIFIER = "pkg://verl_egrsd.reward"
PLAIN_LOSS = "egrsd"
LOSSES = (PLAIN_LOSS, "egrsd_ppo_clip")


def plain(section: Any, *, resolve: bool = True) -> dict[str, Any]:
    """Return a section of the configuration as a dictionary; {} if it is missing."""
    container = OmegaConf.to_container(section, resolve=resolve) if section is not None else {}
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def file_list(given: Any) -> list[str]:
    """Return the files that a key names: none, one as a text, or a list."""
    return [given] if isinstance(given, str) else list(given or [])


def loss_mode(config: DictConfig) -> str:
    """Return the name of the policy loss: the configured one, else the method's."""
    found = config.actor_rollout_ref.actor.policy_loss.loss_mode
    if found is None:
        method = methods().get(config.algorithm.adv_estimator)
        return PLAIN_LOSS if method is None else method.loss
    return found


def model_key(config: DictConfig) -> str:
    """Return the key of the section of the model, which supervised training has at the top."""
    return "actor_rollout_ref.model" if "actor_rollout_ref" in config else "model"


def model_section(config: DictConfig) -> DictConfig:
    """Return the section of the model."""
    return OmegaConf.select(config, model_key(config))


def lora_rank(config: DictConfig) -> int:
    """Return the adapter's rank; 0 is full fine-tuning. verl reads two keys."""
    model = model_section(config)
    return (model.get("lora") or {}).get("rank", 0) or model.get("lora_rank", 0)


def scoring_role(config: DictConfig, teacher: TeacherConfig) -> Literal["actor", "ref"]:
    """Return the section of the engine that scores for the teacher.

    Under LoRA the actor holds its weights, and with `refresh: current` the actor is the teacher.
    """
    return "actor" if lora_rank(config) or teacher.refresh == "current" else "ref"


def model_facts(config: DictConfig) -> dict[str, Any]:
    """Return what is known of the model: `override_config`, else its `config.json`.

    That lies in its folder or in the hub's cache; nothing is downloaded. A model of several kinds of input
    answers for its language model.
    """
    model = model_section(config)
    file = config_file(model.path)
    facts = {} if file is None else json.loads(file.read_text())
    return (facts.get("text_config") or facts) | plain(model.get("override_config"))


def report_settings(config: DictConfig) -> ReportConfig:
    """Return the settings of the run report; the default folder is that of the checkpoints."""
    return resolve_report(plain(config.get("report")), folder=config.trainer.default_local_dir)


def score_checks(config: DictConfig) -> ScoreChecks:
    """Return what a score of the reward function must be."""
    return build(ScoreChecks, plain(config.get("scores")), "scores")
