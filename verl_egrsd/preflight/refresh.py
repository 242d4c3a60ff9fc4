"""Checks the engines for a teacher with weights of its own, and the adapter that training starts from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.config import TeacherConfig
from verl_egrsd.preflight.reading import lora_rank, scoring_role

_KEY = "actor_rollout_ref.teacher.refresh"
ADAPTER = "actor_rollout_ref.model.lora_adapter_path"


def check_refresh(config: DictConfig, teacher: TeacherConfig, *, scored: bool) -> None:
    """Refuse engines that cannot hold the weights of this teacher.

    Args:
        config: the whole configuration of verl.
        teacher: the settings of the teacher.
        scored: whether the method reads scores of a teacher.

    Raises:
        ValueError: naming key, value and remedy.
    """
    section, role = config.actor_rollout_ref, scoring_role(config, teacher)
    adapter = section.model.get("lora_adapter_path")
    if adapter and not lora_rank(config):
        raise ValueError(
            f"{ADAPTER}={adapter} with actor_rollout_ref.model.lora_rank=0: full fine-tuning would start "
            "without it. Set lora_rank to the adapter's, or merge it into the model (verl-egrsd export)."
        )
    if teacher.refresh != "frozen" and not scored:
        raise ValueError(
            f"{_KEY}={teacher.refresh} says how a teacher moves, but this method has no teacher: leave it "
            "unset, or choose another method (algorithm.adv_estimator)."
        )
    strategy = section[role].strategy
    if teacher.has_own_weights(adapter) and strategy != "fsdp2":
        cause = f"{_KEY}={teacher.refresh}" if teacher.moves else f"{ADAPTER}={adapter}"
        raise ValueError(
            f"actor_rollout_ref.{role}.strategy={strategy} with {cause}: the teacher's weights are held as "
            f"shards of FSDP2 only. Set actor_rollout_ref.{role}.strategy=fsdp2."
        )
    if teacher.refresh == "ema" and role == "ref":
        _refuse_coarse(section.ref.fsdp_config.get("model_dtype") or "bf16")


def _refuse_coarse(dtype: str) -> None:
    if dtype not in ("fp32", "float32"):
        raise ValueError(
            f"actor_rollout_ref.ref.fsdp_config.model_dtype={dtype} with {_KEY}=ema: the reference engine "
            "holds the average, whose small steps this precision rounds away. Set it to fp32; the weights "
            "lie in host memory, and the forward pass has a precision of its own."
        )


def adapter_problems(config: DictConfig) -> Iterator[str]:
    """Yield a sentence for each reason why training cannot start from `lora_adapter_path`."""
    model = config.actor_rollout_ref.model
    path = model.get("lora_adapter_path")
    if not path:
        return
    file = Path(path) / "adapter_config.json"
    if not file.is_file():
        yield (
            f"{ADAPTER}={path} is not a folder with adapter_config.json: write one with `verl-egrsd export "
            "CHECKPOINT --form adapter`."
        )
        return
    found = json.loads(file.read_text())
    wanted = {"r": lora_rank(config), "lora_alpha": model.lora_alpha, "lora_dropout": 0, "use_dora": False}
    for key, here in wanted.items():
        there = found.get(key, here)
        if there != here:
            yield (
                f"{ADAPTER}={path} has {key}={there} where this run has {here}: verl trains the adapter's "
                "and tells the rollout engine the run's. Set actor_rollout_ref.model.lora_rank and "
                "lora_alpha to the adapter's; merge an adapter with dropout or DoRA into the model."
            )
