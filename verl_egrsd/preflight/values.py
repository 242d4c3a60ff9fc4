"""Invalid values of verl's keys, which verl notices late or never."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.checkpoints.choice import RESUME_MODES
from verl_egrsd.cost.seconds import GPUS

FSDP = ("fsdp", "fsdp2")

Check = tuple[Callable[[Any], bool], str]


def at_least(minimum: int) -> Check:
    """Allow whole numbers from `minimum`."""
    return lambda x: _is_whole(x) and x >= minimum, f"a whole number of {minimum} or more"


def or_null(check: Check) -> Check:
    """Allow null too."""
    allowed, wording = check
    return lambda x: x is None or allowed(x), f"{wording}, or null"


def any_of(*choices: str) -> Check:
    """Allow the choices."""
    return lambda x: x in choices, f"one of {', '.join(choices)}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


POSITIVE: Check = (lambda x: _is_number(x) and x > 0, "a number above 0")
NOT_NEGATIVE: Check = (lambda x: _is_number(x) and x >= 0, "a number of 0 or more")
SHARE: Check = (lambda x: _is_number(x) and 0 < x <= 1, "a number in (0, 1]")
SWITCH: Check = (lambda x: isinstance(x, bool), "true or false")

VALUES: dict[str, Check] = {
    # First, since keys of the rollout follow them.
    "data.dataloader_num_workers": at_least(0),
    "data.gen_batch_size": or_null(at_least(1)),
    "data.max_prompt_length": at_least(1),
    "data.max_response_length": at_least(1),
    "data.max_sequence_length": or_null(at_least(2)),
    "data.seed": or_null(at_least(0)),
    "data.train_batch_size": at_least(1),
    "check.gpu": any_of(*GPUS),
    "actor_rollout_ref.actor.optim.clip_grad": or_null(POSITIVE),
    "actor_rollout_ref.actor.optim.lr": NOT_NEGATIVE,
    "actor_rollout_ref.actor.optim.weight_decay": NOT_NEGATIVE,
    "actor_rollout_ref.actor.ppo_epochs": at_least(1),
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": or_null(at_least(1)),
    "actor_rollout_ref.actor.ppo_mini_batch_size": at_least(1),
    "actor_rollout_ref.actor.use_dynamic_bsz": SWITCH,
    "actor_rollout_ref.model.lora_alpha": POSITIVE,
    "actor_rollout_ref.model.lora_rank": at_least(0),
    "actor_rollout_ref.rollout.agent.num_workers": at_least(1),
    "actor_rollout_ref.rollout.gpu_memory_utilization": SHARE,
    "actor_rollout_ref.rollout.max_model_len": or_null(at_least(2)),
    "actor_rollout_ref.rollout.mode": any_of("async"),
    "actor_rollout_ref.rollout.n": at_least(1),
    "actor_rollout_ref.rollout.prompt_length": at_least(1),
    "actor_rollout_ref.rollout.response_length": at_least(1),
    "actor_rollout_ref.rollout.temperature": POSITIVE,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": at_least(1),
    "actor_rollout_ref.rollout.top_k": at_least(-1),
    "actor_rollout_ref.rollout.top_p": SHARE,
    "actor_rollout_ref.rollout.val_kwargs.n": at_least(1),
    "actor_rollout_ref.rollout.val_kwargs.temperature": NOT_NEGATIVE,
    "actor_rollout_ref.rollout.val_kwargs.top_p": SHARE,
    "reward.num_workers": at_least(1),
    "trainer.n_gpus_per_node": at_least(1),
    "trainer.nnodes": at_least(1),
    "trainer.resume_mode": any_of(*RESUME_MODES),
    "trainer.save_freq": at_least(-1),
    "trainer.test_freq": at_least(-1),
    "trainer.total_epochs": at_least(1),
    "trainer.total_training_steps": or_null(at_least(1)),
    "trainer.val_before_train": SWITCH,
    "trainer.val_only": SWITCH,
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
    refuse_values(config, VALUES)


def refuse_values(config: DictConfig, values: Mapping[str, Check]) -> None:
    """Refuse the values of a configuration that its table does not allow; errors as :func:`check_values`."""
    for key, (allowed, wording) in values.items():
        parent, _, name = key.rpartition(".")
        section = OmegaConf.select(config, parent)
        if section is not None and name in section and not allowed(section[name]):
            raise ValueError(f"{key}={section[name]} is not allowed: it must be {wording}.")
