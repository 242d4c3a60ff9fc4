"""The plan of a configured run: which settings its memory and its seconds depend on."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.config import TeacherConfig
from verl_egrsd.cost.memory import Plan
from verl_egrsd.cost.shape import KNOWN_SHAPES, Shape
from verl_egrsd.methods import Method
from verl_egrsd.preflight.divergence import step_bytes
from verl_egrsd.preflight.reading import lora_rank, model_facts, model_section, scoring_role


def shape_of(config: DictConfig) -> Shape | None:
    """Return the sizes of a run's model, by its `config.json` or its name; None for other architectures."""
    facts = model_facts(config)
    if "hidden_size" not in facts:
        return KNOWN_SHAPES.get(str(model_section(config).path).rstrip("/").rpartition("/")[2])
    return Shape.of(facts)


def plan_of(config: DictConfig, method: Method, teacher: TeacherConfig, shape: Shape, memory: float) -> Plan:
    """Return the plan of a run whose configuration has been checked.

    Args:
        config: the whole configuration, after `preflight`.
        method: of the run.
        teacher: its settings.
        shape: of the model.
        memory: of a GPU, bytes.
    """
    data, section = config.data, config.actor_rollout_ref
    actor, rollout = section.actor, section.rollout
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    rollouts = data.train_batch_size * rollout.n
    longest = data.max_prompt_length + data.max_response_length
    per_gpu = -(-rollouts // gpus)
    privileged = teacher.max_prompt_length + data.max_response_length
    scored = section.ref if scoring_role(config, teacher) == "ref" else rollout
    cap = max(teacher.max_token_len_per_gpu or scored.log_prob_max_token_len_per_gpu, privileged)
    return Plan(
        shape=shape,
        memory=memory,
        gpus=_sharing(gpus, OmegaConf.select(actor, "fsdp_config.fsdp_size")),
        lora_rank=lora_rank(config),
        update_tokens=min(_update_cap(actor, longest), per_gpu * longest),
        longest=longest,
        score_tokens=min(cap, per_gpu * privileged) if method.uses_teacher else 0,
        rollouts=rollouts,
        utilization=rollout.gpu_memory_utilization,
        tensor_parallel=rollout.tensor_model_parallel_size,
        counts_tokens=bool(actor.use_dynamic_bsz),
        checkpointed=bool(section.model.enable_gradient_checkpointing),
        whole_logits=not section.model.use_fused_kernels and method.divergence is None,
        moving=teacher.moves,
        offload=all(
            OmegaConf.select(actor, f"fsdp_config.{part}_offload") for part in ("param", "optimizer")
        ),
        hidden_bytes=step_bytes(config, method, shape.width),
    )


def sft_plan_of(config: DictConfig, shape: Shape, memory: float) -> Plan:
    """Return the plan of a supervised training whose configuration has been checked.

    Args:
        config: the whole configuration.
        shape: of the model.
        memory: of a GPU, bytes.
    """
    data, model = config.data, config.model
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    cap = (
        data.max_token_len_per_gpu
        if data.use_dynamic_bsz
        else data.micro_batch_size_per_gpu * data.max_length
    )
    return Plan(
        shape=shape,
        memory=memory,
        gpus=_sharing(gpus, config.engine.fsdp_size),
        lora_rank=lora_rank(config),
        update_tokens=min(cap, data.train_batch_size // gpus * data.max_length),
        longest=data.max_length,
        counts_tokens=bool(data.use_dynamic_bsz),
        checkpointed=bool(model.enable_gradient_checkpointing),
        whole_logits=not model.use_fused_kernels,
    )


def _sharing(gpus: int, sharded: int | None) -> int:
    """Return how many GPUs share the weights."""
    return sharded if sharded and 0 < sharded < gpus else gpus


def _update_cap(actor: Any, longest: int) -> int:
    """Return the tokens of a micro-batch: a cap of tokens, or rows that may all be the longest."""
    if actor.use_dynamic_bsz:
        return max(actor.ppo_max_token_len_per_gpu, longest)
    return (actor.ppo_micro_batch_size_per_gpu or 1) * longest
