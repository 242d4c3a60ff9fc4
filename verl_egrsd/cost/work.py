"""Operations of a training step; see docs/performance.md.

For a sequence of L tokens, of which the head projects r, one forward pass of a decoder takes

    2 N L   +   2 A L^2   +   2 V D r     floating-point operations,

with N the weights of the layers that multiply, A the width of all heads of all layers (the products of causal
attention touch half of L x L, twice), V the vocabulary and D the width. With P the prompt, S what the teacher
reads beyond it, and R the response, a step of EGRSD is a forward pass of the student over P + R, one of the
teacher over P + S + R, and the update.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from verl_egrsd.cost.shape import Shape


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
class MeanRollout:
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
    shape: Shape,
    rollout: MeanRollout,
    *,
    lora: bool = False,
    recomputed: bool = False,
    all_rows: bool = False,
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


def share_of_teacher(rollout: MeanRollout) -> float:
    """The floor of a step with a teacher over one without, counted in tokens of full fine-tuning.

    (4 (P + R) + (P + S + R)) / (4 (P + R)): one forward pass for the student's scores, three for the update.
    """
    context = rollout.prompt + rollout.response
    return (4 * context + context + rollout.solution) / (4 * context)
