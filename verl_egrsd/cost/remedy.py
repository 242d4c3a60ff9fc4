"""What to set so that a plan fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

from verl_egrsd.cost.memory import Plan, misfits

ROLLOUT_SECTION, ACTOR_SECTION = "actor_rollout_ref.rollout", "actor_rollout_ref.actor"
ENGINE_SECTION = f"{ACTOR_SECTION}.fsdp_config"
Change = tuple[str, dict[str, Any]]
"""Words for a command line, and the fields of the plan that they change."""


def _changes(plan: Plan) -> Iterator[Change]:
    """Yield settings that take less memory, those that cost the least time first."""
    if plan.update_tokens > plan.longest:
        words = f"{ACTOR_SECTION}.ppo_max_token_len_per_gpu={plan.longest}"
        switch = "" if plan.counts_tokens else f"{ACTOR_SECTION}.use_dynamic_bsz=true "
        yield switch + words, {"update_tokens": plan.longest}
    for share in (0.7, 0.5, 0.4):
        yield f"{ROLLOUT_SECTION}.gpu_memory_utilization={share}", {"utilization": share}
    for gpus in (2, 4, 8):
        if plan.tensor_parallel < gpus and plan.gpus % gpus == 0:
            yield f"{ROLLOUT_SECTION}.tensor_model_parallel_size={gpus}", {"tensor_parallel": gpus}
    if not plan.offload:
        yield (
            f"{ENGINE_SECTION}.param_offload=true {ENGINE_SECTION}.optimizer_offload=true",
            {"offload": True},
        )


def _sft_changes(plan: Plan) -> Iterator[Change]:
    """Yield the same of supervised training."""
    if plan.counts_tokens and plan.update_tokens > plan.longest:
        yield f"data.max_token_len_per_gpu={plan.longest}", {"update_tokens": plan.longest}
    if not plan.counts_tokens and plan.update_tokens > plan.longest:
        yield "data.micro_batch_size_per_gpu=1", {"update_tokens": plan.longest}
    if plan.whole_logits:
        yield "model.use_fused_kernels=true", {"whole_logits": False}


def remedy(plan: Plan) -> str | None:
    """Return the fewest settings with which a plan fits, "" for none; None if these do not suffice."""
    found = remedied(plan)
    return None if found is None else found[0]


def remedied(plan: Plan) -> tuple[str, Plan] | None:
    """Return the same settings, and the plan with them."""
    changes = list(_changes(plan) if plan.utilization else _sft_changes(plan))
    for number in range(5):
        for chosen in combinations(changes, number):
            fields = {name: value for _, change in chosen for name, value in change.items()}
            changed = replace(plan, **fields)
            if not misfits(changed):
                return " ".join(words for words, _ in chosen), changed
    return None
