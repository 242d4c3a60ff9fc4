"""Everything about a configuration that can be known before anything starts.

Called by `verl_egrsd.main` before Ray, and by the trainer itself, for those who start stock `main_ppo`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from verl_egrsd.config import ESTIMATORS, EgrsdConfig, TeacherConfig, build, resolve_egrsd
from verl_egrsd.report.settings import ReportConfig, resolve_report
from verl_egrsd.teacher.templates import get_template

TRAINER = "egrsd_sync"
PLAIN_LOSS = "egrsd"
LOSSES = (PLAIN_LOSS, "egrsd_ppo_clip")


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
    _settle_precision(config, egrsd)
    with open_dict(config):
        config.algorithm.egrsd = asdict(egrsd)
        config.actor_rollout_ref.teacher = asdict(teacher)
    return egrsd, teacher


def report_settings(config: DictConfig) -> ReportConfig:
    """Return the settings of the run report; its folder is that of the checkpoints unless one is given."""
    return resolve_report(plain(config.get("report")), folder=config.trainer.default_local_dir)


def lora_rank(config: DictConfig) -> int:
    """Return the adapter's rank; 0 is full fine-tuning. verl reads two keys."""
    model = config.actor_rollout_ref.model
    return (model.get("lora") or {}).get("rank", 0) or model.get("lora_rank", 0)


def plain(section: Any) -> dict[str, Any]:
    """Return a section of the configuration as a dictionary, {} for none."""
    container = OmegaConf.to_container(section, resolve=True) if section is not None else {}
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _loss_mode(config: DictConfig) -> str:
    return config.actor_rollout_ref.actor.policy_loss.loss_mode


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
        lambda c: _loss_mode(c) in LOSSES and c.trainer.v1.trainer_mode != TRAINER,
        lambda c: (
            f"actor_rollout_ref.actor.policy_loss.loss_mode={_loss_mode(c)} expects the token credit of "
            f"{TRAINER}, but trainer.v1.trainer_mode={c.trainer.v1.trainer_mode}: set it to {TRAINER}."
        ),
    ),
    (
        lambda c: c.algorithm.adv_estimator in ESTIMATORS and _loss_mode(c) not in LOSSES,
        lambda c: (
            f"actor_rollout_ref.actor.policy_loss.loss_mode={_loss_mode(c)} is not a loss of this method: "
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
        lambda c: _loss_mode(c) == PLAIN_LOSS and _updates_per_batch(c) > 1,
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


def _settle_precision(config: DictConfig, egrsd: EgrsdConfig) -> None:
    """Make the engine that scores return float32 entropies: the actor with LoRA, else the reference.

    Under bf16 autocast verl's default entropy is bf16 too, up to 0.07 nat off at Qwen3's vocabulary.
    """
    role = "actor" if lora_rank(config) else "ref"
    section = config.actor_rollout_ref[role]
    engine = section.get("fsdp_config")
    if not egrsd.uses_teacher or engine is None:
        return
    precision = (engine.get("mixed_precision") or {}).get("param_dtype", "bf16")
    if config.actor_rollout_ref.model.use_remove_padding:
        section.entropy_from_logits_with_chunking = engine.entropy_from_logits_with_chunking = True
    elif precision not in ("fp32", "float32"):
        raise ValueError(
            f"the teacher's entropy would come back in {precision}: set "
            "actor_rollout_ref.model.use_remove_padding=True, or "
            f"+actor_rollout_ref.{role}.fsdp_config.mixed_precision.param_dtype=fp32."
        )
