"""Random columns of an update batch for the property tests."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from verl_egrsd.methods.columns import TOKEN_COLUMNS

# No deadline: the machine may be busy. No database: the tests leave no files.
examples = settings(max_examples=25, deadline=None, database=None)

Raw = dict[str, Any]
"""What `Columns.of` takes."""


@st.composite
def raw_columns(draw: st.DrawFn) -> Raw:
    """Draw a batch: one run of response tokens per row, which may be empty but for the first row."""
    rows, time = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def whole(low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, (rows,), generator=generator)

    def nats(low: int, high: int) -> Tensor:
        """Return halves, so that values are often equal."""
        return torch.randint(2 * low, 2 * high + 1, (rows, time), generator=generator) / 2

    start, length = whole(0, time - 1), whole(0, time)
    length[0] = length[0].clamp(min=1)
    positions = torch.arange(time)
    return {
        "response_mask": (positions >= start[:, None]) & (positions < (start + length)[:, None]),
        "rewards": whole(0, 3) / 2,
        "correct": whole(0, 1) > 0,
        "problems": whole(0, 2),
        "answers": whole(-1, 1),
        "step": draw(st.integers(1, 60)),
        **{name: nats(0, 6) if name.endswith("entropy") else nats(-12, 0) for name in TOKEN_COLUMNS},
    }


def with_padding(raw: Raw, junk: float, more: int) -> Raw:
    """Return the same tokens with other values in the padding, and with more padding behind them."""
    mask = torch.nn.functional.pad(raw["response_mask"], (0, more))
    tokens = {name: torch.nn.functional.pad(raw[name], (0, more)).where(mask, junk) for name in TOKEN_COLUMNS}
    return {**raw, "response_mask": mask, **tokens}


def in_order(raw: Raw, order: Tensor) -> Raw:
    """Return the same rows in another order."""
    return {name: value[order] if isinstance(value, Tensor) else value for name, value in raw.items()}
