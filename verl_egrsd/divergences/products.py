"""Matrix products with the head, in a dtype that is wide enough, without a widened copy of the head."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

WIDENED_ROWS = 4096
"""Rows of a head that are converted at a time."""


def sum_dtype(*tensors: Tensor) -> torch.dtype:
    """Return the dtype of logits and sums: float64 where an input has it, else float32."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


class Head:
    """A head (V, D) whose products have the dtype of the sums.

    Logits in half precision would put 1e-3 nat of noise on a divergence. So a GPU multiplies operands
    that are both in half precision into float32; in every other case they are widened, the head in parts.
    """

    def __init__(self, weight: Tensor, hidden: Tensor, sums: torch.dtype) -> None:
        self.weight, self.sums = weight, sums
        narrow = weight.device.type != "cpu" and hidden.dtype == weight.dtype and weight.itemsize == 2
        self.dtype = weight.dtype if narrow else sums
        self._widened = torch.empty(0, dtype=self.dtype, device=weight.device)

    def logits(self, hidden: Tensor, out: Tensor) -> Tensor:
        """Write hidden W^T, (n, V), to `out`."""
        hidden = hidden.to(self.dtype)
        for some, part in self._parts():
            self._product(hidden, part.T, out[:, some])
        return out

    def gradient(self, logits_gradient: Tensor, out: Tensor) -> Tensor:
        """Write (gradient of the logits) W, (n, D), to `out`."""
        narrow = logits_gradient.to(self.dtype)
        if self.weight.dtype == self.dtype:
            return self._product(narrow, self.weight, out)
        out.zero_()
        for some, part in self._parts():
            out.addmm_(narrow[:, some], part)
        return out

    def add_weight_gradient(self, logits_gradient: Tensor, hidden: Tensor, to: Tensor) -> None:
        """Add (gradient of the logits)^T hidden, (V, D)."""
        if self.dtype == self.sums:
            to.addmm_(logits_gradient.T, hidden.to(self.sums))
            return
        narrow = logits_gradient.to(self.dtype)
        torch.addmm(to, narrow.T, hidden, out_dtype=self.sums, out=to)

    def _product(self, left: Tensor, right: Tensor, out: Tensor) -> Tensor:
        if self.dtype == self.sums:
            return torch.mm(left, right, out=out)
        return torch.mm(left, right, out_dtype=self.sums, out=out)

    def _parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the head in the dtype of the product: as a whole where it has it."""
        if self.weight.dtype == self.dtype:
            yield slice(None), self.weight
            return
        for start in range(0, len(self.weight), WIDENED_ROWS):
            some = slice(start, start + WIDENED_ROWS)
            part = self.weight[some]
            yield some, self._widened.resize_(part.shape).copy_(part)
