"""How long a GPU takes, where products or the memory are the limit: predicted, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from verl_egrsd.cost.shape import QWEN3_4B, QWEN3_8B, Shape
from verl_egrsd.cost.work import MeanRollout, Work, step_work
from verl_egrsd.output.tables import text_table


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        name: in tables.
        memory: bytes.
        flops: dense bf16 operations per second.
        bandwidth: bytes per second between memory and processor.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float


GIB = 2.0**30
GPUS = {
    "a100_40gb": Gpu("A100 40 GB", 40 * GIB, 312e12, 1.555e12),
    "a100_80gb": Gpu("A100 80 GB", 80 * GIB, 312e12, 2.0e12),
    "h100_80gb": Gpu("H100 80 GB", 80 * GIB, 989e12, 3.35e12),
    "h200_141gb": Gpu("H200 141 GB", 141e9, 989e12, 4.8e12),
}
"""By the name that `check.gpu` takes; the makers' numbers, without sparsity."""


@dataclass(frozen=True)
class Machine:
    """What a prediction assumes of the hardware.

    Attributes:
        gpu: their kind.
        devices: how many.
        used: share of `flops` that training reaches.
        used_bandwidth: share of `bandwidth` that generation reaches.
    """

    gpu: Gpu
    devices: int
    used: float = 0.4
    used_bandwidth: float = 0.6

    @property
    def name(self) -> str:
        """Number and kind."""
        return f"{self.devices} x {self.gpu.name}"

    @property
    def flops(self) -> float:
        """Operations per second of training, all devices together."""
        return self.devices * self.gpu.flops * self.used


QUEUE_RATES = 2.9e9, 1.9e9
"""Bytes per second that TransferQueue writes and reads (tests/benchmarks/results/hidden_states.md)."""
A100 = Machine(GPUS["a100_80gb"], 8)
H100 = Machine(GPUS["h100_80gb"], 8)


def training_seconds(work: Work, rollouts: int, machine: Machine) -> float:
    """Seconds of some work of every rollout, where products are the limit."""
    return rollouts * work.total / machine.flops


def generation_seconds(shape: Shape, rollout: MeanRollout, rollouts: int, machine: Machine) -> float:
    """Seconds of generation, where memory is the limit: a token reads all weights and its own cache, in bf16.

    Args:
        shape: of the model.
        rollout: lengths of every rollout.
        rollouts: of the step, spread evenly over the devices.
        machine: the hardware.
    """
    rate = machine.gpu.bandwidth * machine.used_bandwidth
    weights = 2 * (shape.layer_weights + shape.head_weights)
    cached = rollout.response * (rollout.prompt + rollout.response / 2) * 2 * shape.cache_values
    return (rollout.response * weights + rollouts / machine.devices * cached) / rate


def step_seconds(
    shape: Shape,
    rollout: MeanRollout,
    rollouts: int,
    machine: Machine,
    *,
    lora: bool,
    passes: int = 1,
    kept: float = 0.0,
) -> dict[str, float]:
    """Return the predicted seconds of each part of a step with gradient checkpointing.

    Args:
        shape: of the model.
        rollout: lengths of every rollout.
        rollouts: of the step.
        machine: the hardware.
        lora: whether the base weights get no gradient.
        passes: of the teacher over a response; 0 without a teacher.
        kept: bytes of the hidden states that travel through the queue for a divergence.
    """
    work = step_work(shape, rollout, lora=lora, recomputed=True)
    seconds = {"generation": generation_seconds(shape, rollout, rollouts, machine)}
    parts = {"student": work.student, "teacher": work.teacher, "update": work.update}
    spent = {name: training_seconds(part, rollouts, machine) for name, part in parts.items()}
    teacher = {"teacher": passes * spent.pop("teacher")}
    queue = {"hidden states": sum(kept / rate for rate in QUEUE_RATES)} if kept else {}
    found = {"student": spent["student"], **(teacher if passes else {}), **queue, "update": spent["update"]}
    return seconds | found


def update_seconds(
    shape: Shape, lengths: Sequence[int], rows: int, machine: Machine, *, lora: bool, recomputed: bool
) -> float:
    """Return the predicted seconds of a step of supervised training.

    Args:
        shape: of the model.
        lengths: tokens of some examples, prompt and response; those of a step are taken to be like them.
        rows: examples of a step.
        machine: the hardware.
        lora: whether the base weights get no gradient.
        recomputed: whether gradient checkpointing repeats the forward pass of the layers.
    """
    examples = (MeanRollout(0, 0, length) for length in lengths)
    updates = (step_work(shape, each, lora=lora, recomputed=recomputed).update for each in examples)
    return mean(training_seconds(update, rows, machine) for update in updates)


def prediction_table(
    solutions: Sequence[int] = (0, 1_000, 4_000), prompt: int = 200, response: int = 1_024, rollouts: int = 32
) -> str:
    """Return predicted seconds of a step of the recipes (LoRA, gradient checkpointing), as a Markdown table.

    Args:
        solutions: lengths of the reference solution, tokens.
        prompt: P, tokens.
        response: R, tokens; every rollout is taken to reach it.
        rollouts: of a step.
    """
    head = ("model", "machine", "solution", "generation", "student", "teacher", "update", "teacher's share")
    rows = []
    for name, shape in (("Qwen3-4B", QWEN3_4B), ("Qwen3-8B", QWEN3_8B)):
        for machine in (A100, H100):
            for solution in solutions:
                lengths = MeanRollout(prompt, solution, response)
                seconds = step_seconds(shape, lengths, rollouts, machine, lora=True)
                share = f"{100 * seconds['teacher'] / sum(seconds.values()):.0f} %"
                numbers = (f"{part:.2f}" for part in seconds.values())
                rows.append((name, machine.name, f"{solution:,}", *numbers, share))
    return text_table(head, rows, "ll")


if __name__ == "__main__":
    print(prediction_table())
