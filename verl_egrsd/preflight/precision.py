"""The engines whose entropies the method reads must return them in float32."""

from __future__ import annotations

from omegaconf import DictConfig

from verl_egrsd.config import TeacherConfig
from verl_egrsd.methods import Method
from verl_egrsd.preflight.reading import scoring_role


def settle_precision(config: DictConfig, method: Method, teacher: TeacherConfig) -> None:
    """Make the teacher's engine return float32 entropies, and the student's where the method reads them.

    Under bf16 autocast verl's default entropy is bf16 too, up to 0.07 nat off at Qwen3's vocabulary.
    """
    roles = [scoring_role(config, teacher)] if method.uses_teacher else []
    if "student_entropy" in method.reads and "actor" not in roles:
        roles.append("actor")
    for role in roles:
        _settle(config, role)


def _settle(config: DictConfig, role: str) -> None:
    section = config.actor_rollout_ref[role]
    engine = section.get("fsdp_config")
    if engine is None:
        return
    precision = (engine.get("mixed_precision") or {}).get("param_dtype", "bf16")
    if config.actor_rollout_ref.model.use_remove_padding:
        section.entropy_from_logits_with_chunking = engine.entropy_from_logits_with_chunking = True
    elif precision not in ("fp32", "float32"):
        raise ValueError(
            f"the {role} engine's entropy would come back in {precision}: set "
            "actor_rollout_ref.model.use_remove_padding=True, or "
            f"+actor_rollout_ref.{role}.fsdp_config.mixed_precision.param_dtype=fp32."
        )
