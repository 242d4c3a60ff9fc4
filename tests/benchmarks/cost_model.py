"""What a training step costs, from counted operations and bytes; see docs/performance.md.

For a sequence of L tokens, of which the head projects r, one forward pass of a decoder takes

    2 N L   +   2 A L^2   +   2 V D r     floating-point operations,

with N the weights of the layers that multiply, A the width of all heads of all layers (the products of causal
attention touch half of L x L, twice), V the vocabulary and D the width. With P the prompt, S what the teacher
reads beyond it, and R the response, a step of EGRSD is a forward pass of the student over P + R, one of the
teacher over P + S + R, and the update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from verl_egrsd.output.tables import text_table


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder such as Qwen3.

    Attributes:
        layers: how many.
        width: of the hidden states, D.
        heads: attention heads per layer.
        key_heads: heads of keys and values per layer.
        head_width: of one head.
        feed_forward: width of the gated feed-forward part.
        vocabulary: V, rows of the head.
    """

    layers: int
    width: int
    heads: int
    key_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int

    @property
    def layer_weights(self) -> int:
        """Weights of all layers that multiply hidden states, N."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.key_heads)
        return self.layers * (attention + 3 * self.width * self.feed_forward)

    @property
    def head_weights(self) -> int:
        """Weights of the head, V D."""
        return self.vocabulary * self.width

    @property
    def cache_values(self) -> int:
        """Keys and values that generation keeps per token."""
        return 2 * self.layers * self.key_heads * self.head_width


QWEN3_4B = Shape(36, 2560, 32, 8, 128, 9728, 151_936)
QWEN3_8B = Shape(36, 4096, 32, 8, 128, 12288, 151_936)


class Work(NamedTuple):
    """Floating-point operations of a pass, by what they are for.

    Attributes:
        layers: products with the weights of the layers.
        attention: products of queries with keys, and of weights with values.
        head: products with the head.
    """

    layers: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self)

    def times(self, factor: float) -> Work:
        """Return this work done `factor` times."""
        return Work(*(factor * part for part in self))

    def plus(self, other: Work) -> Work:
        """Return both works together."""
        return Work(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def forward(shape: Shape, tokens: float, projected: float) -> Work:
    """Operations of one forward pass over one sequence.

    Args:
        shape: of the model.
        tokens: L.
        projected: r, positions that the head projects.
    """
    attention_width = shape.layers * shape.heads * shape.head_width
    return Work(
        layers=2 * shape.layer_weights * tokens,
        attention=2 * attention_width * tokens**2,
        head=2 * shape.head_weights * projected,
    )


@dataclass(frozen=True)
class Rollout:
    """Lengths of a mean rollout, tokens.

    Attributes:
        prompt: P.
        solution: S, what the privileged prompt has beyond the student's.
        response: R.
    """

    prompt: float
    solution: float
    response: float

    def __post_init__(self) -> None:
        """Refuse negative lengths."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0:
                raise ValueError(f"{field.name}={value} is not allowed: it must be 0 or more tokens.")


class StepWork(NamedTuple):
    """Work of a step per rollout.

    Attributes:
        student: scores before the update.
        teacher: scores with the privileged context.
        update: forward and backward pass.
    """

    student: Work
    teacher: Work
    update: Work

    @property
    def total(self) -> float:
        """All operations."""
        return sum(work.total for work in self)


def step_work(
    shape: Shape, rollout: Rollout, *, lora: bool = False, recomputed: bool = False, all_rows: bool = False
) -> StepWork:
    """Operations of a step per rollout, generation left out.

    Args:
        shape: of the model.
        rollout: lengths.
        lora: whether the base weights get no gradient; the backward pass is then as long as the forward pass,
            and twice as long otherwise. The adapter's own products are left out.
        recomputed: whether gradient checkpointing repeats the forward pass of the layers.
        all_rows: whether the scores project prompts too, as verl's engine does.
    """
    context = rollout.prompt + rollout.response
    privileged = context + rollout.solution
    student = forward(shape, context, context if all_rows else rollout.response)
    teacher = forward(shape, privileged, privileged if all_rows else rollout.response)
    once = forward(shape, context, context)
    layers_again = once._replace(head=0.0).times(float(recomputed))
    return StepWork(student, teacher, once.times(2 if lora else 3).plus(layers_again))


def share_of_teacher(rollout: Rollout) -> float:
    """The floor of a step with a teacher over one without, counted in tokens of full fine-tuning.

    (4 (P + R) + (P + S + R)) / (4 (P + R)): one forward pass for the student's scores, three for the update.
    """
    context = rollout.prompt + rollout.response
    return (4 * context + context + rollout.solution) / (4 * context)


@dataclass(frozen=True)
class Machine:
    """What a prediction assumes of the hardware.

    Attributes:
        name: in tables.
        devices: how many.
        flops: dense operations per second and device, in the dtype of the products.
        bandwidth: bytes per second and device between memory and processor.
        used: share of `flops` that training reaches.
        used_bandwidth: share of `bandwidth` that generation reaches.
    """

    name: str
    devices: int
    flops: float
    bandwidth: float
    used: float = 0.4
    used_bandwidth: float = 0.6


A100 = Machine("8 x A100 80 GB", 8, 312e12, 2.0e12)
H100 = Machine("8 x H100 80 GB", 8, 989e12, 3.35e12)


def training_seconds(work: Work, rollouts: int, machine: Machine) -> float:
    """Seconds of some work of every rollout, where products are the limit."""
    return rollouts * work.total / (machine.devices * machine.flops * machine.used)


def generation_seconds(shape: Shape, rollout: Rollout, rollouts: int, machine: Machine) -> float:
    """Seconds of generation, where memory is the limit: a token reads all weights and its own cache, in bf16.

    Args:
        shape: of the model.
        rollout: lengths of every rollout.
        rollouts: of the step, spread evenly over the devices.
        machine: the hardware.
    """
    rate = machine.bandwidth * machine.used_bandwidth
    weights = 2 * (shape.layer_weights + shape.head_weights)
    cached = rollout.response * (rollout.prompt + rollout.response / 2) * 2 * shape.cache_values
    return (rollout.response * weights + rollouts / machine.devices * cached) / rate


def hidden_bytes(shape: Shape, response: int = 1_024, rollouts: int = 32) -> float:
    """Bytes of the teacher's hidden states of a step in bf16, which a divergence sends to the update."""
    return 2.0 * shape.width * response * rollouts


QUEUE_SECONDS = {
    "write": {QWEN3_4B: 0.17, QWEN3_8B: 0.26},
    "read": {QWEN3_4B: 0.25, QWEN3_8B: 0.43},
}
"""Measured with TransferQueue on two cores, for 32 rollouts of 1,024 tokens in bf16."""


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
                lengths = Rollout(prompt, solution, response)
                work = step_work(shape, lengths, lora=True, recomputed=True)
                parts = [training_seconds(part, rollouts, machine) for part in work]
                seconds = [generation_seconds(shape, lengths, rollouts, machine), *parts]
                share = f"{100 * parts[1] / sum(seconds):.0f} %"
                numbers = (f"{part:.2f}" for part in seconds)
                rows.append((name, machine.name, f"{solution:,}", *numbers, share))
    return text_table(head, rows, "ll")


if __name__ == "__main__":
    print(prediction_table())
