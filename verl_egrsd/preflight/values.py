"""Invalid values of verl's keys, which verl notices late or never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

FSDP = ("fsdp", "fsdp2")
RESUME_MODES = ("auto", "disable", "resume_path")

Check = tuple[Callable[[Any], bool], str]


def _whole(minimum: int) -> Check:
    return lambda x: _is_whole(x) and x >= minimum, f"a whole number of {minimum} or more"


def _optional(check: Check) -> Check:
    allowed, wording = check
    return lambda x: x is None or allowed(x), f"{wording}, or null"


def _one_of(*choices: str) -> Check:
    return lambda x: x in choices, f"one of {', '.join(choices)}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


POSITIVE: Check = (lambda x: _is_number(x) and x > 0, "a number above 0")
NOT_NEGATIVE: Check = (lambda x: _is_number(x) and x >= 0, "a number of 0 or more")
SHARE: Check = (lambda x: _is_number(x) and 0 < x <= 1, "a number in (0, 1]")
_SWITCH: Check = (lambda x: isinstance(x, bool), "true or false")

VALUES: dict[str, Check] = {
    # First, since keys of the rollout follow them.
    "data.dataloader_num_workers": _whole(0),
    "data.gen_batch_size": _optional(_whole(1)),
    "data.max_prompt_length": _whole(1),
    "data.max_response_length": _whole(1),
    "data.max_sequence_length": _optional(_whole(2)),
    "data.seed": _optional(_whole(0)),
    "data.train_batch_size": _whole(1),
    "actor_rollout_ref.actor.optim.clip_grad": _optional(POSITIVE),
    "actor_rollout_ref.actor.optim.lr": NOT_NEGATIVE,
    "actor_rollout_ref.actor.optim.weight_decay": NOT_NEGATIVE,
    "actor_rollout_ref.actor.ppo_epochs": _whole(1),
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": _optional(_whole(1)),
    "actor_rollout_ref.actor.ppo_mini_batch_size": _whole(1),
    "actor_rollout_ref.actor.use_dynamic_bsz": _SWITCH,
    "actor_rollout_ref.model.lora_alpha": POSITIVE,
    "actor_rollout_ref.model.lora_rank": _whole(0),
    "actor_rollout_ref.rollout.agent.num_workers": _whole(1),
    "actor_rollout_ref.rollout.gpu_memory_utilization": SHARE,
    "actor_rollout_ref.rollout.max_model_len": _optional(_whole(2)),
    "actor_rollout_ref.rollout.mode": _one_of("async"),
    "actor_rollout_ref.rollout.n": _whole(1),
    "actor_rollout_ref.rollout.prompt_length": _whole(1),
    "actor_rollout_ref.rollout.response_length": _whole(1),
    "actor_rollout_ref.rollout.temperature": POSITIVE,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": _whole(1),
    "actor_rollout_ref.rollout.top_k": _whole(-1),
    "actor_rollout_ref.rollout.top_p": SHARE,
    "actor_rollout_ref.rollout.val_kwargs.n": _whole(1),
    "actor_rollout_ref.rollout.val_kwargs.temperature": NOT_NEGATIVE,
    "actor_rollout_ref.rollout.val_kwargs.top_p": SHARE,
    "reward.num_workers": _whole(1),
    "trainer.n_gpus_per_node": _whole(1),
    "trainer.nnodes": _whole(1),
    "trainer.resume_mode": _one_of(*RESUME_MODES),
    "trainer.save_freq": _whole(-1),
    "trainer.test_freq": _whole(-1),
    "trainer.total_epochs": _whole(1),
    "trainer.total_training_steps": _optional(_whole(1)),
    "trainer.val_before_train": _SWITCH,
    "trainer.val_only": _SWITCH,
}
"""The allowed values of each key. A key that the configuration lacks is not checked."""


def check_engine(config: DictConfig) -> None:
    """Refuse engines other than FSDP, whose configuration lacks sections that the other checks read.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    engine, strategy = config.get("model_engine", "dp"), config.actor_rollout_ref.actor.strategy
    if engine != "dp":
        raise ValueError(
            f"model_engine={engine} is not supported: the teacher is scored by verl's FSDP engine. Set "
            "model_engine=dp (verl's default) with actor_rollout_ref.actor.strategy=fsdp2."
        )
    if strategy not in FSDP:
        raise ValueError(
            f"actor_rollout_ref.actor.strategy={strategy} is not supported: the teacher is scored by verl's "
            "FSDP engine. Set it to fsdp2 or fsdp."
        )
    if OmegaConf.is_missing(config.actor_rollout_ref.rollout, "name"):
        raise ValueError("actor_rollout_ref.rollout.name is not set: set it to vllm.")


def check_values(config: DictConfig) -> None:
    """Refuse values of verl's keys that are out of range or of another type.

    Raises:
        ValueError: naming the key, its value and what is allowed.
    """
    for key, (allowed, wording) in VALUES.items():
        parent, _, name = key.rpartition(".")
        section = OmegaConf.select(config, parent)
        if section is not None and name in section and not allowed(section[name]):
            raise ValueError(f"{key}={section[name]} is not allowed: it must be {wording}.")
