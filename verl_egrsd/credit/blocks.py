"""Functions of rows, applied to as many rows at a time as the processor's cache holds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1024 * 1024
"""Elements per block, 4 MiB in float32: smaller ones cost more calls than they save traffic."""


def in_row_blocks(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return what a function of rows gives for tensors with the same number of rows, (B, ...).

    On a GPU the function is called once, with all rows: a launch costs more there than memory traffic.

    Args:
        function: takes a block of rows of each tensor and returns tensors with as many rows.
        tensors: (B, T) or (B, 1); the first one is (B, T).
    """
    if tensors[0].device.type != "cpu":
        return function(*tensors)
    rows = max(1, BLOCK_ELEMENTS // tensors[0].shape[1])
    parts = [function(*block) for block in zip(*(tensor.split(rows) for tensor in tensors), strict=True)]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
