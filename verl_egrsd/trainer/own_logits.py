"""Reference scores from the logits of the model's own forward pass, to test every faster head.

verl's fused head and the scoring of response rows multiply hidden states by the head's weight. A model may do
more: cap its logits (Gemma 2), scale them (Granite, Cohere), or add a bias (Phi). So each fast head is
compared at start, on a small batch, with the logits of the model's own forward pass. The hidden states are
first enlarged until the logits spread like those of a trained model, because a cap does not change logits
near 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id, get_device_name
from verl.workers.utils.padding import response_from_nested

from verl_egrsd.trainer.engine import EgrsdFSDPEngine
from verl_egrsd.trainer.queue import jagged
from verl_egrsd.trainer.response_rows import packed, response_rows

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Largest allowed mean difference of scores, nats, by dtype of the engine: half precision rounds logits."""
WRONG = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.1}
"""Mean difference of log-probs, nats, that is too large to be rounding."""
LENGTHS, PROMPT = (40, 23), 8
"""Tokens of each row of the batch, and of each prompt."""
TEMPERATURE = 1.3
SPREAD = 3.0
"""Least standard deviation of the logits of a position, over the vocabulary."""

Scores = dict[str, Tensor]


def small_batch(vocabulary: int) -> TensorDict:
    """Return random rows in the form in which verl's trainer sends them for scoring; equal at every call."""
    draw = torch.Generator().manual_seed(0)
    rows = [torch.randint(vocabulary, (length,), generator=draw) for length in LENGTHS]
    columns = {
        "input_ids": jagged(rows),
        "position_ids": jagged([torch.arange(len(row)) for row in rows]),
        "loss_mask": _response_mask(),
    }
    settings = {"temperature": TEMPERATURE, "calculate_entropy": True, "compute_loss": False}
    settings |= {"use_dynamic_bsz": True, "max_token_len_per_gpu": sum(LENGTHS)}
    return tu.get_tensordict(columns, non_tensor_dict=settings)


def scores_of_own_logits(engine: EgrsdFSDPEngine, use_remove_padding: bool) -> Scores:
    """Return `log_probs` and `entropy` of the small batch's response tokens, (tokens,), float32, nats."""
    logits = own_logits(engine, use_remove_padding) / TEMPERATURE
    batch = small_batch(vocabulary_of(engine))
    rows = response_rows(batch["input_ids"].offsets(), batch["loss_mask"].offsets().diff())
    tokens = batch["input_ids"].values()[rows + 1].to(logits.device)
    distribution = torch.distributions.Categorical(logits=logits[rows.to(logits.device)], validate_args=False)
    return {"log_probs": distribution.log_prob(tokens).cpu(), "entropy": distribution.entropy().cpu()}


def own_logits(engine: EgrsdFSDPEngine, use_remove_padding: bool) -> Tensor:
    """Return the model's own logits at every position of the small batch, float32."""
    batch = small_batch(vocabulary_of(engine))
    tu.assign_non_tensor(batch, use_fused_kernels=False, use_remove_padding=use_remove_padding)
    inputs, _ = engine.prepare_model_inputs(micro_batch=batch.to(get_device_id()))
    with forward_only(engine), engine.own_forward():
        logits = engine.module(**inputs, use_cache=False).logits
    return packed(logits, inputs).float()


@contextmanager
def forward_only(
    engine: EgrsdFSDPEngine, *, disable_auto_offload: bool = False, without_adapter: bool = False
) -> Iterator[None]:
    """Prepare an engine for a forward pass in its own precision, without gradients."""
    dtype = engine._autocast_dtype
    with (
        engine.eval_mode(disable_auto_offload=disable_auto_offload),
        engine.disable_adapter() if without_adapter else nullcontext(),
        torch.autocast(get_device_name(), dtype, enabled=dtype != torch.float32),
        torch.no_grad(),
    ):
        yield


@contextmanager
def spread_logits(engine: EgrsdFSDPEngine, use_remove_padding: bool) -> Iterator[None]:
    """Enlarge the last hidden states until the logits have a standard deviation of at least `SPREAD`."""
    found = float(own_logits(engine, use_remove_padding).std(dim=-1).mean())
    factor = max(1.0, SPREAD / max(found, 1e-6))

    def enlarge(decoder: nn.Module, arguments: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state * factor
        return output

    handle = engine.module.get_decoder().register_forward_hook(enlarge)
    try:
        yield
    finally:
        handle.remove()


def difference(scored: TensorDict, own: Scores, name: str) -> float:
    """Return the mean difference of a score, nats.

    Args:
        scored: the worker's scores of the small batch.
        own: result of :func:`scores_of_own_logits`.
        name: "log_probs" or "entropy".
    """
    found = response_from_nested(scored[name], _response_mask()).values()
    return float((found.cpu().float() - own[name]).abs().mean())


def vocabulary_of(engine: EgrsdFSDPEngine) -> int:
    """Return the number of rows of the model's embedding."""
    return int(engine.module.get_input_embeddings().num_embeddings)


def _response_mask() -> Tensor:
    return jagged([torch.ones(length - PROMPT, dtype=torch.int64) for length in LENGTHS])
