"""GPUs and disk of this machine, and the memory and seconds that a run is predicted to take."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.config import TeacherConfig
from verl_egrsd.cost.memory import Phase, Plan, host_bytes, misfits, phases, sequences_at_once
from verl_egrsd.cost.remedy import remedy
from verl_egrsd.cost.seconds import GPUS, Gpu, Machine, step_seconds, update_seconds
from verl_egrsd.cost.settings import shape_of
from verl_egrsd.cost.shape import Shape
from verl_egrsd.cost.work import MeanRollout
from verl_egrsd.doctor.lines import CheckLine, doubt, wrong
from verl_egrsd.methods import Method
from verl_egrsd.output.files import nearest_existing
from verl_egrsd.preflight.attention import lacking_attention
from verl_egrsd.preflight.divergence import step_bytes
from verl_egrsd.preflight.machine import gpus_asked, gpus_here, joins_cluster, wanting
from verl_egrsd.preflight.reading import lora_rank, model_section
from verl_egrsd.sft.settings import EACH_EPOCH
from verl_egrsd.teacher.steering import STEERING_PROMPTS


def check_gpus(config: DictConfig, *, elsewhere: bool) -> Iterator[CheckLine]:
    """Yield GPUs found against GPUs asked, and whether they have the attention that the configuration takes.

    A run on another machine has the GPUs of `check.gpu`.
    """
    trainer = config.trainer
    asked, found = gpus_asked(config), gpus_here()
    if trainer.device != "cuda":
        yield CheckLine("GPUs", f"none needed, trainer.device={trainer.device}")
    elif elsewhere:
        yield CheckLine("GPUs", f"{asked} asked, on another machine (--elsewhere)")
    elif joins_cluster(config):
        yield CheckLine("GPUs", f"{asked} asked of the Ray cluster")
    elif asked > found:
        sentence = wanting(config, asked, found)
        yield wrong("GPUs", f"{sentence} If the run is for another machine: verl-egrsd check --elsewhere.")
    else:
        yield CheckLine("GPUs", f"{asked} asked, {found} found")
        if lacks := lacking_attention(config):
            yield wrong("attention", lacks)


def check_disk(config: DictConfig, *, moving: bool = False) -> Iterator[CheckLine]:
    """Yield the disk's free space against the checkpoints of the run.

    Args:
        config: the whole configuration.
        moving: whether the teacher is an adapter of its own.
    """
    shape, trainer, saved = shape_of(config), config.trainer, _saved(config.trainer)
    if shape is None or not saved:
        return
    folder = nearest_existing(Path(trainer.default_local_dir))
    one, free = checkpoint_bytes(config, shape, moving=moving), shutil.disk_usage(folder).free
    most = "max_actor_ckpt_to_keep" if "actor_rollout_ref" in config else "max_ckpt_to_keep"
    kept = min(saved, trainer.get(most) or saved)
    text = f"{free / 1e9:,.0f} GB free at {folder}, {kept} checkpoints of {one / 1e9:,.1f} GB"
    if free < one:
        yield wrong("disk", f"{text}: not even one fits. Choose another trainer.default_local_dir (OUTPUT).")
    elif free < kept * one:
        yield doubt("disk", f"{text}: set trainer.{most}={int(free / one)} or less.")
    else:
        yield CheckLine("disk", text)


def _saved(trainer: DictConfig) -> int:
    """Return how many checkpoints a run writes; 0 if it writes none, or if that depends on the data."""
    steps, every = trainer.total_training_steps, trainer.save_freq
    if every == EACH_EPOCH:
        return 0 if steps else trainer.total_epochs
    return -(-steps // every) if steps and every > 0 else 0


def checkpoint_bytes(config: DictConfig, shape: Shape, *, moving: bool = False) -> float:
    """Return the bytes of a checkpoint: float32 weights, Adam's two numbers, a moving teacher."""
    rank = lora_rank(config)
    weights = shape.adapter_weights(rank) if rank else shape.weights
    section = config.actor_rollout_ref.actor if "actor_rollout_ref" in config else config
    with_base = rank and not section.checkpoint.save_lora_only
    return weights * (16.0 if moving else 12.0) + (4.0 * shape.weights if with_base else 0.0)


def gpu_of(config: DictConfig) -> Gpu:
    """Return the kind of GPU: this machine's if it has one, with the speed of the named one it resembles."""
    assumed = GPUS[config.check.gpu]
    if not gpus_here():
        return assumed
    import torch

    here = torch.cuda.get_device_properties(0)
    known = [gpu for gpu in GPUS.values() if gpu.name.split()[0] in here.name] or [assumed]
    alike = min(known, key=lambda gpu: abs(gpu.memory - here.total_memory))
    return Gpu(here.name, float(here.total_memory), alike.flops, alike.bandwidth)


def check_memory(config: DictConfig, plan_with: Callable[[Shape, float], Plan]) -> Iterator[CheckLine]:
    """Yield the predicted memory of each phase on a GPU, and what to change where it does not fit.

    Args:
        config: the whole configuration.
        plan_with: gives the plan of the run, by the model's sizes and the bytes of a GPU.
    """
    if config.trainer.device != "cuda":
        return
    shape, gpu = shape_of(config), gpu_of(config)
    if shape is None:
        path = model_section(config).path
        yield doubt("memory", f"not predicted: the sizes of {path} are not known here, or not counted.")
        return
    plan = plan_with(shape, gpu.memory)
    each = ", ".join(_in_parts(phase) for phase in phases(plan))
    text = f"predicted GB per GPU: {each}, of {gpu.memory / 1e9:.0f} ({gpu.name})"
    problems = misfits(plan)
    if problems:
        change = remedy(plan)
        advice = f"Set {change}." if change else "It needs more GPUs, shorter caps, LoRA or a smaller model."
        # A prediction that no GPU has confirmed keeps nobody from trying.
        yield doubt("memory", f"{text}: {'; '.join(problems)}. {advice}")
        return
    if not plan.utilization:
        yield CheckLine("memory", text)
        return
    trainer = config.trainer
    engines = max(1, trainer.nnodes * trainer.n_gpus_per_node // plan.tensor_parallel)
    at_once = sequences_at_once(plan)
    room = (
        "all rollouts at once" if at_once * engines >= plan.rollouts else f"{at_once} of the longest at once"
    )
    yield CheckLine("memory", f"{text}; vLLM has room for {room}")
    needed = host_bytes(plan, config.trainer.n_gpus_per_node)
    if gpus_here() and needed > host_memory():
        yield doubt(
            "memory", f"host memory: {needed / 1e9:.0f} GB predicted, {host_memory() / 1e9:.0f} here."
        )


def _in_parts(phase: Phase) -> str:
    """Return a phase with its gigabytes, and those of what it holds."""
    parts = "; ".join(f"{name} {size / 1e9:.1f}" for name, size in phase.parts.items())
    return f"{phase.name} {phase.total / 1e9:.0f} ({parts})"


def host_memory() -> float:
    """Return the bytes of this machine's memory."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def check_seconds(
    config: DictConfig, method: Method, teacher: TeacherConfig, prompt: float, privileged: float
) -> Iterator[CheckLine]:
    """Yield the predicted seconds of a step whose answers all reach their cap.

    Args:
        config: the whole configuration.
        method: of the run.
        teacher: its settings.
        prompt: mean tokens of the student's prompt.
        privileged: mean tokens that the teacher reads beyond it.
    """
    shape = shape_of(config)
    if shape is None or config.trainer.device != "cuda":
        return
    machine, rollouts = _machine(config), config.data.train_batch_size * config.actor_rollout_ref.rollout.n
    lengths = MeanRollout(prompt, privileged, config.data.max_response_length)
    lora = bool(lora_rank(config))
    passes = int(method.uses_teacher) * (1 if teacher.steering is None else 1 + len(STEERING_PROMPTS))
    kept = step_bytes(config, method, shape.width)
    parts = step_seconds(shape, lengths, rollouts, machine, lora=lora, passes=passes, kept=kept)
    yield _predicted("if every answer reaches its cap", parts, machine, config.trainer.total_training_steps)


def check_update_seconds(config: DictConfig, lengths: Sequence[int]) -> Iterator[CheckLine]:
    """Yield the predicted seconds of a step of supervised training.

    Args:
        config: the whole configuration.
        lengths: tokens of the examples that were read; nothing is predicted without.
    """
    shape = shape_of(config)
    if shape is None or config.trainer.device != "cuda" or not lengths:
        return
    machine, lora = _machine(config), bool(lora_rank(config))
    recomputed = bool(config.model.enable_gradient_checkpointing)
    rows = config.data.train_batch_size
    step = update_seconds(shape, lengths, rows, machine, lora=lora, recomputed=recomputed)
    said = f"if all rows are as long as the {len(lengths)} that were read"
    yield _predicted(said, {"update": step}, machine, config.trainer.total_training_steps)


def _machine(config: DictConfig) -> Machine:
    return Machine(gpu_of(config), config.trainer.nnodes * config.trainer.n_gpus_per_node)


def _predicted(said: str, parts: Mapping[str, float], machine: Machine, steps: int | None) -> CheckLine:
    step = sum(parts.values())
    named = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    whole = f"; {steps} steps {_duration(step * steps)}" if steps else ""
    return CheckLine(
        "seconds",
        f"predicted per step, {said}: {step:.1f} ({named}) on {machine.name}{whole}, and start, validation "
        "and communication",
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"
