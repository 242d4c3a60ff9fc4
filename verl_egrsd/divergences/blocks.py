"""Rows in blocks, blocks in slices: the memory of a call, and the order of its work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from verl_egrsd.divergences.call import Call, Rows
from verl_egrsd.divergences.products import Head, sum_dtype
from verl_egrsd.divergences.slices import sweep

BLOCK_BYTES, GPU_BLOCK_BYTES = 149 * 2**20, 2 * 2**30
"""Memory of a block's logits, both sides; on a CPU 128 rows of Qwen3's vocabulary."""
SLICE_BYTES, GPU_SLICE_BYTES = 5 * 2**20, 512 * 2**20
"""The same of a slice; on a CPU it stays in the cache."""


class Result(NamedTuple):
    """Values of all rows, and the gradients of the sum of their losses that were asked for."""

    rows: Rows
    hidden_gradient: Tensor | None
    weight_gradient: Tensor | None


def run(hidden: Tensor, weight: Tensor, call: Call, hidden_wanted: bool, weight_wanted: bool) -> Result:
    """Return values and gradients, dtype of the sums; memory beside them is that of a block and a slice."""
    sums = sum_dtype(hidden, weight, call.teacher_hidden, call.teacher_weight)
    (count, width), vocabulary = hidden.shape, len(weight)
    student, teacher = Head(weight, hidden, sums), Head(call.teacher_weight, call.teacher_hidden, sums)

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=sums, device=hidden.device)

    hidden_gradient = empty(count, width) if hidden_wanted else None
    weight_gradient = empty(vocabulary, width).zero_() if weight_wanted else None
    # Ranks of a divided vocabulary take the same parts, since they meet in every one.
    widest = int(call.shard.max(torch.tensor(vocabulary, device=hidden.device)))
    block, part = rows_per_part(widest, sums, hidden.device)
    logits = empty(2, min(block, count), vocabulary)
    memory = empty(3 if call.scored_apart else 2, min(part, count), vocabulary)
    # Filled slice by slice: small tensors that stay, made between large ones that go, would cut the heap up.
    scores = empty(2, count) if call.token_ids is not None else (None, None)
    found = Rows(empty(count), empty(count), scores[0], empty(count), scores[1], empty(count))
    for rows in _parts(0, count, block):
        size = rows.stop - rows.start
        x = student.logits(hidden[rows], logits[0, :size])
        z = teacher.logits(call.teacher_hidden[rows], logits[1, :size])
        for some in _parts(rows.start, rows.stop, part):
            here = slice(some.start - rows.start, some.stop - rows.start)
            _fill(found, some, sweep(x[here], z[here], memory[:, : some.stop - some.start], call, some))
        if hidden_gradient is not None:
            student.gradient(x, hidden_gradient[rows])
        if weight_gradient is not None:
            student.add_weight_gradient(x, hidden[rows], weight_gradient)
    if hidden_gradient is not None:
        call.shard.sum(hidden_gradient)
    return Result(found, hidden_gradient, weight_gradient)


def rows_per_part(vocabulary: int, sums: torch.dtype, device: torch.device) -> tuple[int, int]:
    """Return the rows of a block and of a slice."""
    row_bytes = 2 * vocabulary * sums.itemsize
    cpu = device.type == "cpu"
    block, part = (BLOCK_BYTES, SLICE_BYTES) if cpu else (GPU_BLOCK_BYTES, GPU_SLICE_BYTES)
    return max(1, block // row_bytes), max(1, part // row_bytes)


def _parts(start: int, stop: int, step: int) -> Iterator[slice]:
    return (slice(first, min(first + step, stop)) for first in range(start, stop, step))


def _fill(found: Rows, some: slice, values: Rows) -> None:
    """Write the values of a slice to those of all rows."""
    for column, part in zip(found, values, strict=True):
        if column is not None:
            assert part is not None
            column[some] = part
