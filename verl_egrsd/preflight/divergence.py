"""What a divergence over the vocabulary asks of the engine, the model and the memory."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.config import TeacherConfig
from verl_egrsd.divergences.settings import DIVERGENCE_SECTION
from verl_egrsd.methods import Distillation, Method
from verl_egrsd.preflight.contexts import STEERING
from verl_egrsd.preflight.reading import PLAIN_LOSS, loss_mode, model_facts, scoring_role
from verl_egrsd.preflight.rules import ACTOR, RULES

NEUTRAL = {
    "final_logit_softcapping": (None, 0),
    "logits_scaling": (None, 1),
    "logit_scale": (None, 1),
    "lm_head_multiplier": (None, 1),
}
"""Keys of a model's config.json that change its logits, with the values that do not."""
LOSS_KEYS = tuple(
    f"{ACTOR}.{name}"
    for name in (
        *("loss_agg_mode", "loss_scale_factor"),
        *("clip_ratio", "clip_ratio_low", "clip_ratio_high", "clip_ratio_c"),
    )
)
"""Keys of verl's policy losses."""
BYTES = {"fp32": 4, "float32": 4}
"""Of a number, by the precision of the engine; all others have two."""


def check_divergence(config: DictConfig, method: Method, teacher: TeacherConfig) -> None:
    """Refuse a run whose divergence cannot be computed, or whose hidden states take too much memory.

    Raises:
        ValueError: naming key, value and remedy.
    """
    _check_steering(method, teacher)
    if method.divergence is None:
        return
    named = f"with algorithm.adv_estimator={method.name}, whose loss is a divergence over the vocabulary"
    if loss_mode(config) != PLAIN_LOSS:
        raise ValueError(
            f"actor_rollout_ref.actor.policy_loss.loss_mode={loss_mode(config)} {named}: it has no ratio to "
            f"clip. Set it to {PLAIN_LOSS}."
        )
    for key, value, remedy in (*_unread(config), *_engine_keys(config, scoring_role(config, teacher))):
        raise ValueError(f"{key}={value} {named}: {remedy}.")
    facts = model_facts(config)
    if "vocab_size" in facts:
        method.divergence.require_smaller(facts["vocab_size"])
    width = facts.get("hidden_size")
    if width is not None:  # that of a model on the hub is known when the trainer has loaded its configuration
        check_bytes(config, method, method.divergence, width)


def _check_steering(method: Method, teacher: TeacherConfig) -> None:
    """Refuse a steered teacher whose scores of tokens would be those of the teacher as it is without."""
    if teacher.steering is None:
        return
    scores = sorted(method.reads & {"teacher_log_prob", "teacher_entropy"})
    if method.divergence is None or scores:
        read = f"reads {', '.join(scores)}" if scores else "has no divergence over the vocabulary"
        raise ValueError(
            f"{STEERING}={teacher.steering} moves the hidden states that a divergence reads, and "
            f"algorithm.adv_estimator={method.name} {read}: leave it unset, or choose a method with a "
            "divergence whose factors do not read the teacher's scores (verl-egrsd methods)."
        )


def _unread(config: DictConfig) -> Iterator[tuple[str, object, str]]:
    """Yield key, value and remedy of what verl's policy losses read, and a divergence does not."""
    for rule in RULES:
        if rule.key in LOSS_KEYS and (value := OmegaConf.select(config, rule.key)) not in rule.neutral:
            yield rule.key, value, "it takes the mean over tokens and has no ratio; leave the key unset"


def _engine_keys(config: DictConfig, role: str) -> Iterator[tuple[str, object, str]]:
    """Yield key, value and remedy of everything that keeps the engines from computing a divergence."""
    for name in dict.fromkeys(("actor", role)):
        section = f"actor_rollout_ref.{name}"
        strategy = OmegaConf.select(config, f"{section}.strategy")
        if strategy != "fsdp2":
            yield f"{section}.strategy", strategy, "the head must be sharded as FSDP2 does it; set fsdp2"
        for key in ("ulysses_sequence_parallel_size", "fsdp_config.ulysses_sequence_parallel_size"):
            ranks = OmegaConf.select(config, f"{section}.{key}")
            if ranks not in (None, 1):
                yield f"{section}.{key}", ranks, "a response must lie on one rank; set it to 1"
    targets = config.actor_rollout_ref.model.get("target_modules")
    if "lm_head" in ([targets] if isinstance(targets, str) else targets or []):
        remedy = "the head must be the teacher's too; leave lm_head out"
        yield "actor_rollout_ref.model.target_modules", targets, remedy
    facts = model_facts(config)
    for key, neutral in NEUTRAL.items():
        if facts.get(key) not in neutral:
            remedy = (
                f"{key}={facts[key]} in its config.json changes the logits behind the head; choose another "
                "model, or a method without a divergence (verl-egrsd methods)"
            )
            yield "actor_rollout_ref.model.path", config.actor_rollout_ref.model.path, remedy


def token_bytes(config: DictConfig, method: Method, width: int) -> int:
    """Return the bytes of what travels for one token, which the engine's precision decides.

    This is the teacher's hidden state, and the student's where a factor reads the divergence.
    """
    precision = OmegaConf.select(config, "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype")
    return (1 + method.reads_divergence) * width * BYTES.get(precision, 2)


def step_bytes(config: DictConfig, method: Method, width: int) -> float:
    """Return the bytes that the hidden states of a step take at most; 0 without a divergence."""
    if method.divergence is None:
        return 0.0
    tokens = method.divergence.kept(config.data.max_response_length)
    rollouts = config.data.train_batch_size * config.actor_rollout_ref.rollout.n
    return float(rollouts * tokens * token_bytes(config, method, width))


def check_bytes(config: DictConfig, method: Method, divergence: Distillation, width: int) -> None:
    """Refuse hidden states of this width that may take more than `hidden_gigabytes`.

    Raises:
        ValueError: naming the key, the bytes and the remedy.
    """
    data = config.data
    rollouts = data.train_batch_size * config.actor_rollout_ref.rollout.n
    tokens = divergence.kept(data.max_response_length)
    numbers = (1 + method.reads_divergence) * width
    needed = step_bytes(config, method, width) / 1e9
    if needed > divergence.hidden_gigabytes:
        reads_all = method.reads_divergence or method.policy_factors is not None
        cut = "" if reads_all else f"lower {DIVERGENCE_SECTION}.first_tokens, "
        raise ValueError(
            f"{DIVERGENCE_SECTION}.hidden_gigabytes={divergence.hidden_gigabytes:g} is below the "
            f"{needed:.2g} GB of the hidden states of a step: {rollouts} rollouts "
            f"(data.train_batch_size * rollout.n) of up to {tokens} tokens with {numbers} numbers each. "
            f"Raise it where the hosts have the memory, {cut}or lower data.max_response_length or "
            "data.train_batch_size."
        )
