"""Functions of rows, applied to as many rows at a time as the processor's cache holds."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

BLOCK_ELEMENTS = 1024 * 1024
"""Elements per block, 4 MiB in float32: smaller ones cost more calls than they save traffic."""


def in_row_blocks(function: Callable[..., object], *tensors: Tensor) -> None:
    """Call a function of rows with blocks of the rows of all tensors; it writes into some of them.

    On a GPU the function is called once, with all rows: a launch costs more there than memory traffic.

    Args:
        function: takes a block of rows of each tensor.
        tensors: (B, T) or (B, 1), inputs and outputs.
    """
    if tensors[0].device.type != "cpu":
        function(*tensors)
        return
    rows = max(1, BLOCK_ELEMENTS // max(tensor.shape[1] for tensor in tensors))
    for block in zip(*(tensor.split(rows) for tensor in tensors), strict=True):
        function(*block)
