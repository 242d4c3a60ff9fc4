"""The name of a run, which its folder carries too: two runs that differ in it never share a folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.methods import Method, methods
from verl_egrsd.preflight.reading import plain


def name_run(config: DictConfig, method: Method) -> None:
    """Fill in `trainer.experiment_name` where it is null."""
    if config.trainer.experiment_name is None:
        config.trainer.experiment_name = run_name(config, method)


def run_name(config: DictConfig, method: Method) -> str:
    """Return method, model, thinking and seed, for instance `egrsd_Qwen3-4B_nonthinking_seed0`.

    Factors that the user chose follow the method's name, for instance `egrsd_ratio-entropy_gate-tip_...`.
    """
    own, chosen = (tuple(f.name for f in row.factors) for row in (methods().get(method.name, method), method))
    factors = [] if chosen == own else ["-".join(chosen) or "none"]
    thinks = plain(config.data.get("apply_chat_template_kwargs")).get("enable_thinking")
    thinking = [] if thinks is None else ["thinking" if thinks else "nonthinking"]
    model = Path(config.actor_rollout_ref.model.path).name
    return "_".join([method.name, *factors, model, *thinking, f"seed{config.data.seed}"])
