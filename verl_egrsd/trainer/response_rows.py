"""Where the responses lie in packed sequences, and how a batch is cut to their first tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from verl_egrsd.trainer.queue import jagged

SEQUENCES = ("input_ids", "position_ids")
"""Columns of prompt and response together."""


def response_rows(offsets: Tensor, response_lengths: Tensor) -> Tensor:
    """Return the positions in packed sequences whose next token is a response token.

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


def packed(hidden: Tensor, inputs: Mapping[str, Any]) -> Tensor:
    """Return hidden states without padding, (tokens, width).

    Args:
        hidden: of the last layer, (rows, time, width).
        inputs: of the model; an attention mask says where rows are padded, none that they are packed.
    """
    mask = inputs["attention_mask"]
    return hidden[0] if mask is None else hidden[mask.bool()]


def first_tokens(column: Tensor, count: int | None) -> Tensor:
    """Return a jagged column with the first `count` entries of every row; None keeps all."""
    return column if count is None else jagged([row[:count] for row in column.unbind()])


def cut_responses(data: TensorDict, columns: tuple[str, ...], count: int | None) -> TensorDict:
    """Return a batch whose responses end after their first `count` tokens; None keeps all.

    Args:
        data: with the jagged columns of `SEQUENCES`, (batch, prompt + response).
        columns: the others that are cut, jagged (batch, response); one of them is `response_mask`.
        count: at most so many tokens of each response stay.
    """
    if count is None:
        return data
    beyond = (data["response_mask"].offsets().diff() - count).clamp(min=0)
    cut = data.copy()
    for name in SEQUENCES:
        rows = zip(data[name].unbind(), beyond.tolist(), strict=True)
        cut[name] = jagged([row[: len(row) - more] for row, more in rows])
    for name in columns:
        cut[name] = first_tokens(data[name], count)
    return cut
