"""The name of a run, which its folder carries too: two runs that differ in it never share a folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.config import ESTIMATORS, EgrsdConfig
from verl_egrsd.preflight.reading import plain


def name_run(config: DictConfig, egrsd: EgrsdConfig) -> None:
    """Fill in `trainer.experiment_name` where it is null."""
    if config.trainer.experiment_name is None:
        config.trainer.experiment_name = run_name(config, egrsd)


def run_name(config: DictConfig, egrsd: EgrsdConfig) -> str:
    """Return method, model, thinking and seed, for instance `egrsd_Qwen3-4B_nonthinking_seed0`."""
    method = config.algorithm.adv_estimator
    if method in ESTIMATORS and not egrsd.uses_teacher:
        method = "direction"
    thinks = plain(config.data.get("apply_chat_template_kwargs")).get("enable_thinking")
    thinking = [] if thinks is None else ["thinking" if thinks else "nonthinking"]
    model = Path(config.actor_rollout_ref.model.path).name
    return "_".join([method, model, *thinking, f"seed{config.data.seed}"])
