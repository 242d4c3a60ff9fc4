"""Random update batches for the property tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from verl_egrsd.methods import Columns

# No deadline: the machine may be busy. No database: the tests leave no files.
examples = settings(max_examples=40, deadline=None, database=None)

windows = st.integers(0, 9)
gammas = st.floats(0, 1, width=32)
denominators = st.one_of(st.just("raw"), st.floats(0.25, 8, width=16))


@dataclass
class Batch:
    advantages: Tensor
    teacher_log_prob: Tensor
    student_log_prob: Tensor
    teacher_entropy: Tensor
    response_mask: Tensor

    def rows(self, start: int, stop: int) -> Batch:
        return Batch(**{name: value[start:stop] for name, value in vars(self).items()})

    def with_padding(self, junk: float) -> Batch:
        tokens = self.response_mask
        values = {name: value.clone() for name, value in vars(self).items()}
        for name in ("teacher_log_prob", "student_log_prob", "teacher_entropy"):
            values[name][~tokens] = junk
        return Batch(**values)

    def columns(self, **more: Any) -> Columns:
        """What a method reads of this batch."""
        own = ("teacher_log_prob", "student_log_prob", "teacher_entropy")
        return Columns.of(self.response_mask, **{name: getattr(self, name) for name in own}, **more)


def table(rows: int, time: int, low: float, high: float) -> st.SearchStrategy[Tensor]:
    row = st.lists(st.floats(low, high, width=16), min_size=time, max_size=time)
    return st.lists(row, min_size=rows, max_size=rows).map(torch.tensor)


@st.composite
def masks(draw: st.DrawFn, rows: int, time: int) -> Tensor:
    """One run of ones per row, anywhere, possibly empty."""
    mask = torch.zeros(rows, time, dtype=torch.bool)
    for row in range(rows):
        start = draw(st.integers(0, time))
        mask[row, start : draw(st.integers(start, time))] = True
    return mask


@st.composite
def batches(draw: st.DrawFn, rows: int | None = None) -> Batch:
    rows = draw(st.integers(1, 4)) if rows is None else rows
    time = draw(st.integers(1, 7))
    return Batch(
        advantages=draw(table(rows, 1, -2, 2)),
        teacher_log_prob=draw(table(rows, time, -12, 0)),
        student_log_prob=draw(table(rows, time, -12, 0)),
        teacher_entropy=draw(table(rows, time, 0, 6)),
        response_mask=draw(masks(rows, time)),
    )
