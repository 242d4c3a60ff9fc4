"""How much of an update is left in the numbers that the rollout engine computes with.

A LoRA update of a few steps is smaller than the spacing of bf16 numbers at most weights: added to such a
weight and rounded, nothing is left of it. As an adapter, beside the weights, it keeps its own scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class UpdateShare:
    """Compares the update that the rollout engine sees with the true one, summed over all adapted weights.

    Attributes:
        kept: <seen, true>, the inner product of both updates.
        missed: |seen - true|^2.
        total: |true|^2.
    """

    kept: float = 0.0
    missed: float = 0.0
    total: float = 0.0

    def add_merged(self, base: Tensor, update: Tensor, merged: Tensor) -> None:
        """Count a weight that is sent with its update.

        Args:
            base: the weight without its update, (out, in), float32.
            update: what is added to it, float32.
            merged: what is sent, in the dtype of the rollout engine.
        """
        seen = merged.float() - base.to(merged.dtype).float()
        self._add(torch.sum(seen * update), torch.sum((seen - update) ** 2), torch.sum(update**2))

    def add_factors(self, down: Tensor, up: Tensor, dtype: torch.dtype) -> None:
        """Count a weight whose update is sent as two factors; the product itself is never formed.

        Args:
            down: A, (rank, in), float32.
            up: B, (out, rank), float32.
            dtype: to which the rollout engine rounds both factors.
        """
        true, seen = ((up.double(), down.double()), (up.to(dtype).double(), down.to(dtype).double()))
        total, kept, size = _inner(true, true), _inner(seen, true), _inner(seen, seen)
        self._add(kept, size - 2 * kept + total, total)

    def metrics(self) -> dict[str, float]:
        """Return the share that survives and the relative error; nothing where there is no update yet."""
        if self.total == 0:
            return {}
        return {
            "egrsd/sync/update_share": self.kept / self.total,
            "egrsd/sync/update_error": (max(self.missed, 0.0) / self.total) ** 0.5,
        }

    def _add(self, kept: Tensor, missed: Tensor, total: Tensor) -> None:
        self.kept += float(kept)
        self.missed += float(missed)
        self.total += float(total)


def _inner(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
    """Return <B A, B' A'> from the factors (B, A) and (B', A')."""
    return torch.sum((left[0].T @ right[0]) * (left[1] @ right[1].T))
