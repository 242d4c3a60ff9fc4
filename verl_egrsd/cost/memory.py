"""Bytes of a GPU in each phase of a step, when every prompt and answer is as long as its cap allows.

Counted for FSDP2 with float32 weights and bf16 products, and vLLM on the same GPUs. `RESERVE` and `USABLE`
are assumptions, all else is counted. Nothing is measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from verl_egrsd.cost.seconds import GIB
from verl_egrsd.cost.shape import Shape

RESERVE = 4 * GIB
"""CUDA, NCCL, kernels, and what vLLM keeps while it sleeps."""
USABLE = 0.94
"""Share of a GPU's memory that a phase may reach; the rest is lost between blocks of the allocator."""
BLOCKS = GIB / 2
"""Blocks of logits where there is no whole batch of them: response rows, a divergence."""


@dataclass(frozen=True)
class Plan:
    """What the memory of a GPU depends on.

    Attributes:
        shape: of the model.
        memory: of a GPU, bytes.
        gpus: that share the weights.
        lora_rank: of the adapter; 0 trains all weights.
        update_tokens: of a micro-batch of the update, at most.
        longest: of a sequence of the student, at most.
        score_tokens: of a micro-batch of the teacher's scores, at most; 0 without a teacher.
        rollouts: of a step.
        utilization: vLLM's share of a GPU; 0 for supervised training, which generates nothing.
        tensor_parallel: GPUs that share a copy of vLLM.
        counts_tokens: whether a micro-batch of the update has a cap of tokens, and not of rows.
        checkpointed: whether the update computes the layers again instead of keeping their activations.
        whole_logits: whether the update holds the logits of a whole micro-batch.
        moving: whether the teacher is an adapter of its own.
        offload: whether the trainer's weights and optimiser wait in host memory while vLLM generates.
        hidden_bytes: of the hidden states of a step, at most, which a divergence keeps in host memory.
    """

    shape: Shape
    memory: float
    gpus: int
    lora_rank: int
    update_tokens: int
    longest: int
    score_tokens: int = 0
    rollouts: int = 0
    utilization: float = 0.0
    tensor_parallel: int = 1
    counts_tokens: bool = True
    checkpointed: bool = True
    whole_logits: bool = True
    moving: bool = False
    offload: bool = False
    hidden_bytes: float = 0.0


@dataclass(frozen=True)
class Phase:
    """A phase of a step, and what it holds.

    Attributes:
        name: for people.
        parts: bytes by what they are for.
    """

    name: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        """Bytes of all parts."""
        return sum(self.parts.values())


def phases(plan: Plan) -> tuple[Phase, ...]:
    """Return generation, the teacher's scores and the update, where a step has them, with bytes per GPU."""
    found = [Phase("generation", _generation(plan))] if plan.utilization else []
    if plan.score_tokens:
        found.append(Phase("teacher's scores", _scores(plan)))
    return (*found, Phase("update", _update(plan)))


def trained_bytes(plan: Plan) -> dict[str, float]:
    """Return what the trainer holds on each GPU throughout: weights, and 16 bytes per trained weight."""
    weights, adapter = plan.shape.weights / plan.gpus, plan.shape.adapter_weights(plan.lora_rank) / plan.gpus
    if not plan.lora_rank:
        return {"weights": 4 * weights, "gradients, optimiser": 12 * weights}
    return {"weights": 4 * weights, "adapter, optimiser": (20 if plan.moving else 16) * adapter}


def cache_bytes(plan: Plan) -> float:
    """Return the keys and values of the longest sequence on one GPU of vLLM, bf16."""
    return 2 * plan.shape.cache_values * plan.longest / plan.tensor_parallel


def sequences_at_once(plan: Plan) -> int:
    """Return how many of the longest sequences a copy of vLLM has room for; below 1 it does not start."""
    room = plan.utilization * plan.memory - 2 * plan.shape.weights / plan.tensor_parallel - RESERVE
    return int(room // cache_bytes(plan))


def host_bytes(plan: Plan, gpus_of_node: int) -> float:
    """Return what a node holds in host memory at most: vLLM asleep, a reference engine, what is offloaded.

    The hidden states of a step count whole, since nothing says on which node the queue keeps them.
    """
    share = gpus_of_node / plan.gpus
    asleep = 2 * plan.shape.weights * gpus_of_node / plan.tensor_parallel
    trained = sum(trained_bytes(plan).values()) * gpus_of_node if plan.offload else 0.0
    reference = 4 * plan.shape.weights * share if plan.score_tokens and not plan.lora_rank else 0.0
    return (asleep if plan.lora_rank else 0.0) + trained + reference + plan.hidden_bytes


def _generation(plan: Plan) -> dict[str, float]:
    waiting = {} if plan.offload else trained_bytes(plan)
    return {**waiting, "vLLM": plan.utilization * plan.memory}


def _scores(plan: Plan) -> dict[str, float]:
    per_token = 12 * plan.shape.width + 6 * plan.shape.feed_forward
    activations = plan.score_tokens * per_token
    return {
        **trained_bytes(plan),
        "gathered": _gathered(plan),
        "activations": activations,
        "logits": BLOCKS,
        "reserve": RESERVE,
    }


def _update(plan: Plan) -> dict[str, float]:
    tokens, layers = plan.update_tokens, plan.shape.layers
    between = 2 * layers * plan.shape.width if plan.checkpointed else 0
    held = (1 if plan.checkpointed else layers) * activation_bytes(plan.shape)
    # bf16: as the head makes them, at the temperature, and their gradient. They are gone before a layer is
    # computed again.
    logits = 6.0 * plan.shape.vocabulary * tokens if plan.whole_logits else BLOCKS
    again = float(tokens * held)
    if plan.checkpointed:
        logits, again = (logits, 0.0) if logits > again else (0.0, again)
    return {
        **trained_bytes(plan),
        "gathered": _gathered(plan) * (1 if plan.lora_rank else 3),
        "activations": tokens * between + again,
        "logits": logits,
        "reserve": RESERVE,
    }


def activation_bytes(shape: Shape) -> float:
    """Return what the backward pass of one layer keeps per token, bf16, norms in float32."""
    heads = (shape.heads + shape.key_heads) * shape.head_width
    return 16.0 * shape.width + 10.0 * heads + 8.0 * shape.feed_forward


def _gathered(plan: Plan) -> float:
    """Whole weights in bf16 beside the shards: the head, and two layers, one of them on its way."""
    return 2.0 * (plan.shape.head_weights + 2 * plan.shape.layer_weights / plan.shape.layers)


def misfits(plan: Plan) -> list[str]:
    """Return what does not fit, a clause each; nothing if all does."""
    found = [
        f"{phase.name} takes {phase.total / 1e9:.0f} GB of {plan.memory / 1e9:.0f}"
        for phase in phases(plan)
        if phase.total > USABLE * plan.memory
    ]
    if plan.utilization and sequences_at_once(plan) < 1:
        share = plan.utilization * plan.memory
        found.append(
            f"vLLM has no room for one sequence of {plan.longest:,} tokens in its {share / 1e9:.0f} GB"
        )
    return found
