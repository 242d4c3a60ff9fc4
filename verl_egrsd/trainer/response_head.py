"""Scores of response tokens from an FSDP engine, whose head never sees the prompt.

verl's engine projects every position on the vocabulary, the privileged prompt too, which nobody asks about
and which is often longer than the response. Here the model runs as verl runs it; a hook behind its last layer
gives the hidden states of the response rows to a kernel, and leaves the head one position per sequence.
Upstream, an argument of `prepare_model_outputs` that names the rows to project would do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id, get_device_name
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.engine.utils import postprocess_batch_func, prepare_micro_batches
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.padding import response_from_nested

from verl_egrsd.teacher.kernels import Kernel, candidates, choose
from verl_egrsd.trainer.queue import jagged

logger = logging.getLogger(__name__)

T = TypeVar("T")
PATH_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Largest mean difference from verl's own path, nats; in half precision that path may round scores too."""


def objection(worker: TrainingWorker) -> str | None:
    """Return why a worker's engine must project all rows; None where the response rows are enough."""
    engine = worker.engine
    if not isinstance(engine, FSDPEngineWithLMHead):
        return f"{type(engine).__name__} is not verl's FSDP engine"
    if engine.use_ulysses_sp:
        return "sequence parallelism deals a response to several ranks"
    head = engine.module.get_output_embeddings()
    return None if isinstance(head, nn.Linear) else f"the head is a {type(head).__name__}"


def find_kernel(worker: TrainingWorker) -> Kernel | None:
    """Return the kernel that scores a worker's response rows; None where verl's own path has to do it.

    The whole path is compared with verl's on a small batch: a model that does something to its logits
    behind the head (a soft cap, a scale) would not agree.
    """
    reason = objection(worker)
    if reason is None:
        engine, device = worker.engine, torch.device(get_device_id())
        head, dtype = engine.module.get_output_embeddings(), engine._autocast_dtype
        biased = head.bias is not None
        # One choice for all ranks, or rows that move between ranks would be scored by two kernels.
        name = of_first_rank(choose(head.in_features, head.out_features, dtype, device, biased=biased))
        kernel = candidates(device, biased)[name]
        difference = of_first_rank(difference_from_verl(worker, kernel))
        if difference <= PATH_TOLERANCE[dtype]:
            return kernel
        reason = f"on response rows alone the scores differ by {difference:.1e} nats on average"
    logger.warning("all rows are projected on the vocabulary: %s", reason)
    return None


def of_first_rank(value: T) -> T:
    """Return the value of rank 0, on every rank."""
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def difference_from_verl(worker: TrainingWorker, kernel: Kernel) -> float:
    """Return the larger of the mean differences between this path's scores and verl's, nats."""
    draw = torch.Generator().manual_seed(0)
    vocabulary = worker.engine.module.get_output_embeddings().out_features
    rows = [torch.randint(vocabulary, (length,), generator=draw) for length in (40, 23)]
    mask = jagged([torch.ones_like(row[8:]) for row in rows])
    columns = {"input_ids": jagged(rows), "position_ids": jagged([torch.arange(len(row)) for row in rows])}
    settings = {"temperature": 1.0, "calculate_entropy": True, "compute_loss": False}
    settings |= {"use_dynamic_bsz": True, "max_token_len_per_gpu": 64}
    batch = [tu.get_tensordict(columns | {"loss_mask": mask}, non_tensor_dict=settings) for _ in range(2)]
    ours, theirs = score_responses(worker, batch[0], kernel), worker.infer_batch(batch[1])
    differences = [
        (response_from_nested(ours[name], mask).values() - response_from_nested(theirs[name], mask).values())
        for name in ("log_probs", "entropy")
    ]
    return max(float(difference.abs().mean()) for difference in differences)


def score_responses(worker: TrainingWorker, data: TensorDict, kernel: Kernel) -> TensorDict:
    """Score response tokens with a worker's engine.

    Args:
        worker: an FSDP worker that :func:`objection` has none to.
        data: as for `TrainingWorker.infer_batch`; `loss_mask` (batch, response) has the responses' lengths,
            and `no_lora_adapter` switches the adapter off.

    Returns:
        jagged float32 `log_probs` and `entropy` (batch, prompt + response), nats, where verl has them: at the
        position before their token. Positions that no response token follows hold 0.
    """
    engine, settings = worker.engine, worker.engine_config
    without_adapter = tu.pop(data, key="no_lora_adapter", default=False)
    stock = {
        "use_dynamic_bsz": settings.use_dynamic_bsz,
        "max_token_len_per_gpu": settings.infer_max_token_len_per_gpu,
        "micro_batch_size_per_gpu": settings.infer_micro_batch_size_per_gpu,
        "use_remove_padding": settings.use_remove_padding,
        "use_fused_kernels": settings.use_fused_kernels,
    }
    tu.assign_non_tensor(data, **{key: tu.get(data, key, default=value) for key, value in stock.items()})
    micro_batches, order = prepare_micro_batches(data=data, dp_group=engine.get_data_parallel_group())
    with (
        engine.eval_mode(disable_auto_offload=tu.get(data, "disable_auto_offload", default=False)),
        engine.disable_adapter() if without_adapter else nullcontext(),
        torch.autocast(
            get_device_name(), engine._autocast_dtype, enabled=engine._autocast_dtype != torch.float32
        ),
        torch.no_grad(),
    ):
        outputs = [{"model_output": _score(engine, part, kernel)} for part in micro_batches]
        scores = postprocess_batch_func(output_lst=outputs, indices=order, data=data)["model_output"]
    return TensorDict(scores, batch_size=len(data)).cpu()


def _score(engine: FSDPEngineWithLMHead, micro_batch: TensorDict, kernel: Kernel) -> dict[str, Tensor]:
    micro_batch = micro_batch.to(get_device_id())
    inputs, _ = engine.prepare_model_inputs(micro_batch=micro_batch)
    if "temperature" in inputs:
        # verl's fused head is told its labels: here those of the one position that is left to it.
        inputs["shift_labels"] = inputs["input_ids"][:, :1]
    sequences = micro_batch["input_ids"]
    rows = response_rows(sequences.offsets(), micro_batch["loss_mask"].offsets().diff())
    token_ids = sequences.values()[rows + 1]
    scores: list[Tensor] = []

    def score(hidden: Tensor, head: nn.Linear) -> None:
        packed = hidden[0] if inputs["attention_mask"] is None else hidden[inputs["attention_mask"].bool()]
        options = {"temperature": micro_batch["temperature"], "bias": head.bias}
        scores.extend(kernel(packed[rows], head.weight, token_ids, **options))

    with _behind_last_layer(engine.module, score):
        engine.module(**inputs, use_cache=False)
    everywhere = [value.new_zeros(len(sequences.values())).index_copy_(0, rows, value) for value in scores]
    return {
        name: torch.nested.nested_tensor_from_jagged(values, sequences.offsets())
        for name, values in zip(("log_probs", "entropy"), everywhere, strict=True)
    }


def response_rows(offsets: Tensor, response_lengths: Tensor) -> Tensor:
    """Return the positions, in packed sequences, that a response token follows.

    Args:
        offsets: (batch + 1,), where each sequence begins, and the end of the last.
        response_lengths: (batch,), tokens at the end of each sequence.

    Returns:
        (response tokens,), int64, ascending.
    """
    first = offsets[1:] - response_lengths - 1
    begin = response_lengths.cumsum(0) - response_lengths
    count = torch.arange(int(response_lengths.sum()), device=offsets.device)
    return count + (first - begin).repeat_interleave(response_lengths)


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
