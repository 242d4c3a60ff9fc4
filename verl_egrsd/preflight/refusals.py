"""Settings that contradict each other, and what to set instead; `rules` has the rules for single keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from verl_egrsd.methods import methods
from verl_egrsd.preflight.reading import LOSSES, PLAIN_LOSS, TRAINER, loss_mode

_Table = tuple[tuple[Callable[[DictConfig], bool], Callable[[DictConfig], str]], ...]

LOSS_MODE = "actor_rollout_ref.actor.policy_loss.loss_mode"

UNSERVED = ("gae", "remax", "gdpo", "optimal_token_baseline", "tir_optimal_token_baseline")
"""Estimators that need a critic, or columns that verl's trainer does not hand them."""

RELATIVE = (
    *("grpo", "grpo_vectorized", "grpo_passk", "rloo", "rloo_vectorized", "opo", "gpg"),
    "reinforce_plus_plus_baseline",
)
"""Estimators that compare the rollouts of one prompt."""


def _updates_per_batch(config: DictConfig) -> int:
    actor = config.actor_rollout_ref.actor
    return actor.ppo_epochs * (-(-config.data.train_batch_size // actor.ppo_mini_batch_size))


def _world(config: DictConfig) -> int:
    return config.trainer.nnodes * config.trainer.n_gpus_per_node


def _engine_world(config: DictConfig) -> int:
    rollout = config.actor_rollout_ref.rollout
    return rollout.tensor_model_parallel_size * rollout.data_parallel_size


def _estimator(config: DictConfig) -> Any:
    return config.algorithm.adv_estimator


def _has_divergence(config: DictConfig) -> bool:
    """Return whether the loss is a divergence, which has no ratio that the clipped loss could clip."""
    method = methods().get(_estimator(config))
    return method is not None and method.divergence is not None


REFUSALS: _Table = (
    (
        lambda c: _estimator(c) in UNSERVED,
        lambda c: (
            f"algorithm.adv_estimator={_estimator(c)} needs a critic, or columns that verl's trainer does "
            f"not hand over: choose {', '.join(methods())} or grpo."
        ),
    ),
    (
        lambda c: _estimator(c) in methods() and c.trainer.v1.trainer_mode != TRAINER,
        lambda c: (
            f"algorithm.adv_estimator={_estimator(c)} with "
            f"trainer.v1.trainer_mode={c.trainer.v1.trainer_mode}: only {TRAINER} computes the teacher's "
            f"scores (asynchronous modes are not supported). Set trainer.v1.trainer_mode={TRAINER}."
        ),
    ),
    (
        lambda c: loss_mode(c) in LOSSES and c.trainer.v1.trainer_mode != TRAINER,
        lambda c: (
            f"{LOSS_MODE}={loss_mode(c)} expects the token credit of "
            f"{TRAINER}, but trainer.v1.trainer_mode={c.trainer.v1.trainer_mode}: set it to {TRAINER}."
        ),
    ),
    (
        lambda c: loss_mode(c) not in LOSSES,
        lambda c: (
            f"{LOSS_MODE}={loss_mode(c)} is not a loss of this method: "
            f"set it to {PLAIN_LOSS}"
            + ("." if _has_divergence(c) else f" (one update per batch) or {LOSSES[1]} (several).")
        ),
    ),
    (
        lambda c: c.actor_rollout_ref.actor.ppo_mini_batch_size > c.data.train_batch_size,
        lambda c: (
            f"actor_rollout_ref.actor.ppo_mini_batch_size={c.actor_rollout_ref.actor.ppo_mini_batch_size} is "
            f"above data.train_batch_size={c.data.train_batch_size}: no mini-batch would be full, and the "
            "learning rate's schedule would stand still. Set it to data.train_batch_size."
        ),
    ),
    (
        lambda c: loss_mode(c) == PLAIN_LOSS and _updates_per_batch(c) > 1,
        lambda c: (
            f"{_updates_per_batch(c)} updates per batch "
            f"(actor.ppo_mini_batch_size={c.actor_rollout_ref.actor.ppo_mini_batch_size} of "
            f"data.train_batch_size={c.data.train_batch_size}, "
            f"actor.ppo_epochs={c.actor_rollout_ref.actor.ppo_epochs}) are off-policy under the plain loss: "
            "make it one" + ("." if _has_divergence(c) else f", or set {LOSS_MODE}={LOSSES[1]}.")
        ),
    ),
    (
        lambda c: bool(c.data.get("gen_batch_size")) and c.data.train_batch_size % c.data.gen_batch_size != 0,
        lambda c: (
            f"data.gen_batch_size={c.data.gen_batch_size} does not divide "
            f"data.train_batch_size={c.data.train_batch_size}: leave it unset."
        ),
    ),
    (
        lambda c: (
            c.actor_rollout_ref.rollout.log_prob_use_dynamic_bsz != c.actor_rollout_ref.actor.use_dynamic_bsz
        ),
        lambda c: (
            "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz="
            f"{c.actor_rollout_ref.rollout.log_prob_use_dynamic_bsz} differs from "
            f"actor_rollout_ref.actor.use_dynamic_bsz={c.actor_rollout_ref.actor.use_dynamic_bsz}, which "
            "verl does not allow: leave it unset."
        ),
    ),
    (
        lambda c: (
            not c.actor_rollout_ref.actor.use_dynamic_bsz
            and None
            in (
                c.actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu,
                c.actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu,
            )
        ),
        lambda c: (
            "actor_rollout_ref.actor.use_dynamic_bsz=False needs actor.ppo_micro_batch_size_per_gpu and "
            "rollout.log_prob_micro_batch_size_per_gpu, which are not both set: set "
            "actor_rollout_ref.actor.use_dynamic_bsz=True, or the two."
        ),
    ),
    (
        lambda c: _world(c) % _engine_world(c) != 0,
        lambda c: (
            "actor_rollout_ref.rollout.tensor_model_parallel_size * data_parallel_size="
            f"{_engine_world(c)} does not divide the {_world(c)} GPUs (trainer.nnodes * "
            "trainer.n_gpus_per_node): set tensor_model_parallel_size=1, or another divisor."
        ),
    ),
    (
        lambda c: c.trainer.val_only and not c.trainer.val_before_train,
        lambda c: (
            "trainer.val_only=True with trainer.val_before_train=False would train: verl looks for val_only "
            "after the first validation. Set trainer.val_before_train=True."
        ),
    ),
    (
        lambda c: (
            c.trainer.resume_mode == "resume_path" and "global_step_" not in str(c.trainer.resume_from_path)
        ),
        lambda c: (
            f"trainer.resume_from_path={c.trainer.resume_from_path} with trainer.resume_mode=resume_path: "
            "set it to a folder global_step_N of a run."
        ),
    ),
)
"""Checks for settings that cannot work together, in order."""

REMARKS: _Table = (
    (
        lambda c: _estimator(c) in RELATIVE and c.actor_rollout_ref.rollout.n == 1,
        lambda c: (
            f"algorithm.adv_estimator={_estimator(c)} compares the rollouts of a prompt, and "
            "actor_rollout_ref.rollout.n=1 gives it nothing to compare: set n to 2 or more."
        ),
    ),
    (
        lambda c: (
            (c.algorithm.get("egrsd") or {}).get("max_response_length") is not None
            and c.algorithm.egrsd.max_response_length > c.data.max_response_length
        ),
        lambda c: (
            f"algorithm.egrsd.max_response_length={c.algorithm.egrsd.max_response_length} is above "
            f"data.max_response_length={c.data.max_response_length}: the length bonus is scaled to a length "
            "that no answer reaches. Leave it unset."
        ),
    ),
    (
        lambda c: c.trainer.val_only,
        lambda c: "trainer.val_only=True validates once and trains nothing: set it to False to train.",
    ),
)
"""Checks for settings that work but are rarely meant; they give a warning before the start."""
