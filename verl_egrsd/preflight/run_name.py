"""The name of a run and of its folder: runs with different names never share a folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.config import TeacherConfig, resolve_teacher
from verl_egrsd.methods import Method, methods
from verl_egrsd.preflight.reading import plain


def name_run(config: DictConfig, method: Method, teacher: TeacherConfig) -> None:
    """Fill in `trainer.experiment_name` if it is null."""
    if config.trainer.experiment_name is None:
        config.trainer.experiment_name = run_name(config, method, teacher)


def run_name(config: DictConfig, method: Method, teacher: TeacherConfig) -> str:
    """Return method, model, thinking and seed, for instance `egrsd_Qwen3-4B_nonthinking_seed0`.

    Settings that differ from the method's own follow its name: factors, and the teacher's template, steering
    and refresh, for instance `egrsd_ratio-entropy_gate-tip_wrong_solution_ema_...`.
    """
    own, chosen = (tuple(f.name for f in row.factors) for row in (methods().get(method.name, method), method))
    factors = [] if chosen == own else ["-".join(chosen) or "none"]
    thinks = plain(config.data.get("apply_chat_template_kwargs")).get("enable_thinking")
    thinking = [] if thinks is None else ["thinking" if thinks else "nonthinking"]
    model = Path(config.actor_rollout_ref.model.path).name
    chosen_teacher = _chosen(method, teacher) if method.uses_teacher else []
    seed = f"seed{config.data.seed}"
    return "_".join([method.name, *factors, *chosen_teacher, model, *thinking, seed])


def _chosen(method: Method, teacher: TeacherConfig) -> list[str]:
    """Return template, steering and refresh if they differ from the method's own; a file without ending."""
    own = resolve_teacher(None, method.teacher)
    template = [] if teacher.template == own.template else [Path(teacher.template).stem]
    steering = [] if teacher.steering == own.steering else [f"steering{teacher.steering or 0:g}"]
    return [*template, *steering, *([] if teacher.refresh == own.refresh else [teacher.refresh])]
