"""What a call takes beside inputs and gradients: a block of logits and a slice, for any number of rows."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.divergences.cases import SETTINGS, VOCABULARY, case
from verl_egrsd.divergences import RowLoss, blocks, divergence

BLOCK_ROWS, SLICE_ROWS = 8, 2
VALUE_BYTES = 6 * 8
"""Of a row: the fields of `Rows`."""
NAMES = ("forward clipped", "reverse", "jsd .9 clipped", "sdpo", "eopd")


class LiveBytes(TorchDispatchMode):
    """Counts living tensors that operations made, and their bytes; those that are given do not count."""

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = self.living = self.most = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in given}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._note(value.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.now += storage.nbytes()
        self.living += 1
        self.peak, self.most = max(self.peak, self.now), max(self.most, self.living)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
        self.living -= 1


def called(settings: Any, rows: int) -> tuple[int, int]:
    """Return the most bytes that live at once, beside inputs and gradients, and the most tensors."""
    inputs = case(rows=rows)
    loss = RowLoss(inputs.weights, advantages=inputs.weights, old_log_probs=-inputs.weights)
    given = [inputs.student, inputs.teacher, inputs.head, inputs.token_ids, inputs.weights]
    with LiveBytes([*given, loss.old_log_probs]) as live:
        found = divergence(
            inputs.student, inputs.teacher, inputs.head, settings, token_ids=inputs.token_ids, row_loss=loss
        )
    assert found.loss.shape == (rows,)
    return live.peak - inputs.student.nbytes - inputs.head.nbytes, live.most


def test_the_head_s_gradient_is_handed_over_and_not_copied():
    inputs = case()
    with LiveBytes([inputs.student, inputs.teacher, inputs.head]) as live:
        loss = divergence(inputs.student, inputs.teacher, inputs.head, SETTINGS["reverse"]).loss.sum()
        before = live.peak = live.now
        loss.backward()
    assert before > inputs.head.nbytes
    assert live.peak - before < inputs.head.nbytes / 2


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_rows(name, monkeypatch):
    settings = SETTINGS[name]
    row_bytes = 2 * 8 * VOCABULARY
    monkeypatch.setattr(blocks, "BLOCK_BYTES", BLOCK_ROWS * row_bytes)
    monkeypatch.setattr(blocks, "SLICE_BYTES", SLICE_ROWS * row_bytes)
    (few, tensors), (many, more_tensors) = (called(settings, n * BLOCK_ROWS) for n in (2, 4))
    assert many - few <= VALUE_BYTES * 2 * BLOCK_ROWS
    assert few <= (BLOCK_ROWS + 3 * SLICE_ROWS) * row_bytes + VALUE_BYTES * 2 * BLOCK_ROWS
    # Small tensors that stay, made between large ones that go, would cut the heap into pieces.
    assert more_tensors == tensors
