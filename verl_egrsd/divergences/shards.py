"""A vocabulary that is cut among ranks: each holds some rows of the head, and sums are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Shard:
    """Rows [first_id, first_id + len(head)) of the vocabulary; every rank holds the same hidden states.

    Attributes:
        group: the ranks that hold the other rows; None where this rank holds all.
        first_id: id of the first row.
    """

    group: dist.ProcessGroup | None = None
    first_id: int = 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over ranks, which takes the place of `values`."""
        if self.group is not None:
            dist.all_reduce(values, group=self.group)
        return values

    def max(self, values: Tensor) -> Tensor:
        """Return the maximum over ranks, which takes the place of `values`."""
        if self.group is not None:
            dist.all_reduce(values, dist.ReduceOp.MAX, group=self.group)
        return values

    def local(self, token_ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Return the columns of ids in this rank's part of `size` rows, and which of them it holds.

        An id that another rank holds gets column 0.
        """
        columns = token_ids - self.first_id
        held = (columns >= 0) & (columns < size)
        return columns.where(held, 0), held

    def top_k(self, values: Tensor, k: int) -> Tensor:
        """Return the ids of the k largest of the values (n, V), (n, k), the same on every rank."""
        found, columns = values.topk(min(k, values.shape[1]), dim=1)
        ids = columns + self.first_id
        if self.group is None:
            return ids
        missing = (0, k - found.shape[1])
        found, ids = functional.pad(found, missing, value=-math.inf), functional.pad(ids, missing)
        found, ids = self._gathered(found), self._gathered(ids)
        return ids.gather(1, found.topk(k, dim=1).indices)

    def _gathered(self, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(parts, values.contiguous(), group=self.group)
        return torch.cat(parts, dim=1)

    def pick(self, values: Tensor, token_ids: Tensor) -> Tensor:
        """Return the values (n, V) at ids (n, k), (n, k)."""
        columns, held = self.local(token_ids, values.shape[1])
        return self.sum(values.gather(1, columns).where(held, 0.0))

    def add(self, values: Tensor, token_ids: Tensor, added: Tensor) -> None:
        """Add (n, k) to the values (n, V) at ids (n, k), in place."""
        columns, held = self.local(token_ids, values.shape[1])
        values.scatter_add_(1, columns, added.where(held, 0.0))


WHOLE = Shard()
"""The vocabulary of one rank that holds all of it."""
