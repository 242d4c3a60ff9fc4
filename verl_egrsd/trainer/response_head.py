"""Scores of response tokens from an FSDP engine, whose head never sees the prompt.

verl's engine projects every position on the vocabulary, the privileged prompt too, which nobody asks about
and which is often longer than the response. Here the model runs its own forward pass; a hook behind its last
layer gives the hidden states of the response rows to a kernel, and leaves the head one position per sequence.
Upstream, an argument of `prepare_model_outputs` that names the rows to project would do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id
from verl.workers.engine.utils import postprocess_batch_func, prepare_micro_batches
from verl.workers.engine_workers import TrainingWorker

from verl_egrsd.scoring.kernels import Kernel, candidates, choose
from verl_egrsd.trainer.engine import EgrsdFSDPEngine
from verl_egrsd.trainer.own_logits import (
    TOLERANCE,
    WRONG,
    Scores,
    difference,
    forward_only,
    scores_of_own_logits,
    small_batch,
    spread_logits,
    vocabulary_of,
)
from verl_egrsd.trainer.response_rows import packed, response_rows

logger = logging.getLogger(__name__)

T = TypeVar("T")


def find_kernel(worker: TrainingWorker) -> Kernel | None:
    """Return the kernel that scores a worker's response rows; None where verl's own path has to do it.

    Both ways are compared with the logits of the model's own forward pass.

    Raises:
        ValueError: when verl's path, which also trains the model, is wrong.
    """
    reason = unsupported_reason(worker)
    if reason is None:
        padding = worker.engine_config.use_remove_padding
        with spread_logits(worker.engine, padding):
            own = scores_of_own_logits(worker.engine, padding)
            refuse_wrong_path(worker, own)
            kernel, reason = kernel_for(worker, own)
        if reason is None:
            return kernel
    logger.warning("all rows are projected on the vocabulary: %s", reason)
    return None


def unsupported_reason(worker: TrainingWorker) -> str | None:
    """Return why a worker's engine cannot run the model's own forward pass; None where it can."""
    engine = worker.engine
    if not isinstance(engine, EgrsdFSDPEngine):
        return f"{type(engine).__name__} is not the FSDP engine of this package"
    return "sequence parallelism deals a response to several ranks" if engine.use_ulysses_sp else None


def refuse_wrong_path(worker: TrainingWorker, own: Scores) -> None:
    """Refuse a fused head of verl's that does not do what the model does behind its last layer.

    Raises:
        ValueError: naming the model, the difference and the setting that mends it.
    """
    engine = worker.engine
    model = type(engine._causal_model).__name__.removeprefix("FSDP")
    remedy = "set actor_rollout_ref.model.use_fused_kernels=False."
    fused = worker.engine_config.use_fused_kernels
    try:
        scored = worker.infer_batch(small_batch(vocabulary_of(engine)))
    except (AttributeError, TypeError) as error:
        if not fused:
            raise
        raise ValueError(f"verl's fused head cannot run {model} ({error}): {remedy}") from error
    found = broadcast_from_rank0(difference(scored, own, "log_probs"))
    if not found <= WRONG[engine._autocast_dtype]:
        path = "the fused head of verl" if fused else "verl"
        raise ValueError(
            f"{path} scores tokens of {model} {found:.1e} nats off on average, compared with the model's own "
            "logits, which the model may cap, scale or bias: "
            f"{remedy if fused else 'it cannot be trained with this version of verl.'}"
        )


def kernel_for(worker: TrainingWorker, own: Scores) -> tuple[Kernel | None, str | None]:
    """Return the kernel for response rows, or why there is none."""
    engine, device = worker.engine, torch.device(get_device_id())
    head, dtype = engine.module.get_output_embeddings(), engine._autocast_dtype
    if not isinstance(head, nn.Linear):
        return None, f"the head is a {type(head).__name__}"
    biased = head.bias is not None
    # One choice for all ranks, or rows that move between ranks would be scored by two kernels.
    name = broadcast_from_rank0(choose(head.in_features, head.out_features, dtype, device, biased=biased))
    kernel = candidates(device, biased)[name]
    scored = score_responses(worker, small_batch(vocabulary_of(engine)), kernel)
    found = broadcast_from_rank0(max(difference(scored, own, name) for name in own))
    if not found <= TOLERANCE[dtype]:
        return None, f"on response rows alone the scores are {found:.1e} nats off, on average"
    return kernel, None


def broadcast_from_rank0(value: T) -> T:
    """Return the value of rank 0, on every rank."""
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def score_responses(
    worker: TrainingWorker, data: TensorDict, kernel: Kernel | None, *, hidden: bool = False
) -> TensorDict:
    """Score response tokens with a worker's engine.

    Args:
        worker: one for which :func:`unsupported_reason` has no reason.
        data: as for `TrainingWorker.infer_batch`; `loss_mask` (batch, response) has the responses' lengths,
            and `no_lora_adapter` switches the adapter off.
        kernel: what scores; None scores nothing.
        hidden: whether to return the hidden states that precede the response tokens.

    Returns:
        jagged float32 `log_probs` and `entropy` (batch, prompt + response), nats, where verl has them: at the
        position before their token. Positions that no response token follows hold 0. And `hidden`, jagged
        (batch, response, width), in the precision in which the engine computes.
    """
    engine, settings = worker.engine, worker.engine_config
    without_adapter = tu.pop(data, key="no_lora_adapter", default=False)
    stock = {
        "use_dynamic_bsz": settings.use_dynamic_bsz,
        "max_token_len_per_gpu": settings.infer_max_token_len_per_gpu,
        "micro_batch_size_per_gpu": settings.infer_micro_batch_size_per_gpu,
        "use_remove_padding": settings.use_remove_padding,
    }
    tu.assign_non_tensor(data, **{key: tu.get(data, key, default=value) for key, value in stock.items()})
    tu.assign_non_tensor(data, use_fused_kernels=False)
    micro_batches, order = prepare_micro_batches(data=data, dp_group=engine.get_data_parallel_group())
    offload = tu.get(data, "disable_auto_offload", default=False)
    with (
        forward_only(engine, disable_auto_offload=offload, without_adapter=without_adapter),
        engine.own_forward(),
    ):
        outputs = [{"model_output": _score(engine, part, kernel, hidden)} for part in micro_batches]
        scores = postprocess_batch_func(output_lst=outputs, indices=order, data=data)["model_output"]
    return TensorDict(scores, batch_size=len(data)).cpu()


def _score(
    engine: EgrsdFSDPEngine, micro_batch: TensorDict, kernel: Kernel | None, keep_hidden: bool
) -> dict[str, Tensor]:
    micro_batch = micro_batch.to(get_device_id())
    inputs, _ = engine.prepare_model_inputs(micro_batch=micro_batch)
    sequences, mask = micro_batch["input_ids"], micro_batch["loss_mask"]
    rows = response_rows(sequences.offsets(), mask.offsets().diff())
    token_ids = sequences.values()[rows + 1]
    found: dict[str, Tensor] = {}

    def score(hidden: Tensor, head: nn.Linear) -> None:
        hidden = packed(hidden, inputs)[rows]
        if kernel is not None:
            options = {"temperature": micro_batch["temperature"], "bias": head.bias}
            scores = kernel(hidden, head.weight, token_ids, **options)
            found.update(zip(("log_probs", "entropy"), scores, strict=True))
        if keep_hidden:
            found["hidden"] = hidden.to(engine._autocast_dtype)

    with _behind_last_layer(engine.module, score):
        engine.module(**inputs, use_cache=False)
    columns = {}
    if keep_hidden:
        # To the host at once: the scores of a batch are small beside the hidden states of one row.
        columns["hidden"] = torch.nested.nested_tensor_from_jagged(found.pop("hidden"), mask.offsets()).cpu()
    for name, values in found.items():
        everywhere = values.new_zeros(len(sequences.values())).index_copy_(0, rows, values)
        columns[name] = torch.nested.nested_tensor_from_jagged(everywhere, sequences.offsets())
    return columns


@contextmanager
def _behind_last_layer(module: Any, score: Any) -> Iterator[None]:
    """Call `score` with the last hidden states and the head, and hand on one position of each sequence."""
    head = module.get_output_embeddings()

    def hook(decoder: nn.Module, arguments: Any, output: Any) -> Any:
        if isinstance(head, FSDPModule):
            head.unshard()  # verl shards an untied head on its own, so nothing has gathered it yet
        score(output.last_hidden_state, head)
        output.last_hidden_state = output.last_hidden_state[:, -1:]
        return output

    handle = module.get_decoder().register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
