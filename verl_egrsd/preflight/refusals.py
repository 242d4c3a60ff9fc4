"""Settings of verl that cannot work with this method, each with what to set instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from verl_egrsd.config import ESTIMATORS
from verl_egrsd.preflight.reading import LOSSES, PLAIN_LOSS, TRAINER, loss_mode


def _updates_per_batch(config: DictConfig) -> int:
    actor = config.actor_rollout_ref.actor
    return actor.ppo_epochs * (-(-config.data.train_batch_size // actor.ppo_mini_batch_size))


def _correction(config: DictConfig) -> Any:
    return config.algorithm.get("rollout_correction") or {}


REFUSALS: tuple[tuple[Callable[[DictConfig], bool], str | Callable[[DictConfig], str]], ...] = (
    (
        lambda c: not c.trainer.use_v1,
        "trainer.use_v1=False selects verl's legacy trainer, which has no teacher: set trainer.use_v1=True.",
    ),
    (
        lambda c: c.algorithm.adv_estimator in ESTIMATORS and c.trainer.v1.trainer_mode != TRAINER,
        lambda c: (
            f"algorithm.adv_estimator={c.algorithm.adv_estimator} with "
            f"trainer.v1.trainer_mode={c.trainer.v1.trainer_mode}: only {TRAINER} computes the teacher's "
            f"scores (asynchronous modes are not supported). Set trainer.v1.trainer_mode={TRAINER}."
        ),
    ),
    (
        lambda c: loss_mode(c) in LOSSES and c.trainer.v1.trainer_mode != TRAINER,
        lambda c: (
            f"actor_rollout_ref.actor.policy_loss.loss_mode={loss_mode(c)} expects the token credit of "
            f"{TRAINER}, but trainer.v1.trainer_mode={c.trainer.v1.trainer_mode}: set it to {TRAINER}."
        ),
    ),
    (
        lambda c: c.algorithm.adv_estimator in ESTIMATORS and loss_mode(c) not in LOSSES,
        lambda c: (
            f"actor_rollout_ref.actor.policy_loss.loss_mode={loss_mode(c)} is not a loss of this method: "
            f"set it to {PLAIN_LOSS} (one update per batch) or {LOSSES[1]} (several)."
        ),
    ),
    (
        lambda c: bool(c.algorithm.get("use_kl_in_reward", False)),
        "algorithm.use_kl_in_reward=True would change the reward that the direction is made of: set it to "
        "False.",
    ),
    (
        lambda c: bool(_correction(c).get("bypass_mode", False)),
        "algorithm.rollout_correction.bypass_mode=True replaces the student's log-probs by the rollout "
        "engine's, renormalised over top-k and top-p, so the ratio would be wrong: set it to False.",
    ),
    (
        lambda c: (
            _correction(c).get("rollout_is") is not None or _correction(c).get("rollout_rs") is not None
        ),
        "algorithm.rollout_correction.rollout_is and rollout_rs reweight or mask rows after the credit is "
        "known: set both to null.",
    ),
    (
        lambda c: c.algorithm.adv_estimator == "gae" or bool(c.critic.enable),
        "a critic (algorithm.adv_estimator=gae or critic.enable=True) has no place in EGRSD: choose an "
        "estimator without one and leave critic.enable unset.",
    ),
    (
        lambda c: loss_mode(c) == PLAIN_LOSS and _updates_per_batch(c) > 1,
        lambda c: (
            f"{_updates_per_batch(c)} updates per batch "
            f"(actor.ppo_mini_batch_size={c.actor_rollout_ref.actor.ppo_mini_batch_size} of "
            f"data.train_batch_size={c.data.train_batch_size}, "
            f"actor.ppo_epochs={c.actor_rollout_ref.actor.ppo_epochs}) are off-policy under the plain loss: "
            f"make it one, or set actor_rollout_ref.actor.policy_loss.loss_mode={LOSSES[1]}."
        ),
    ),
    (
        lambda c: c.actor_rollout_ref.model.get("lora_adapter_path") is not None,
        "actor_rollout_ref.model.lora_adapter_path: with the adapter off the teacher would be the base "
        "model, not the policy that training starts from. Merge the adapter into the model first "
        "(verl-egrsd export).",
    ),
    (
        lambda c: bool(c.actor_rollout_ref.rollout.multi_turn.enable),
        "actor_rollout_ref.rollout.multi_turn.enable=True: multi-turn rollouts have holes in their "
        "response mask, which the lookahead does not define. Set it to False.",
    ),
)
"""What cannot work, and what to set instead; read from top to bottom."""
