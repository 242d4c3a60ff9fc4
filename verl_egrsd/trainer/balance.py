"""Rows of a batch in an order that gives every rank the same work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from verl.utils.seqlen_balancing import calculate_workload, get_seqlen_balanced_partitions


def ranks_of(worker_group: Any, mesh: str) -> int:
    """Return among how many ranks a worker group deals the rows of a batch, on one of its meshes."""
    if mesh not in worker_group._dispatch_info:
        worker_group._dispatch_info[mesh] = worker_group._query_dispatch_info(mesh)
    return int(max(worker_group._dispatch_info[mesh])) + 1


def balanced_order(lengths: Sequence[int], ranks: int) -> list[int]:
    """Return an order of rows whose equal consecutive parts, one per rank, take about the same time.

    verl orders a batch by the student's lengths; the teacher's differ, by their reference solutions.

    Args:
        lengths: tokens of each row; as many rows as a multiple of `ranks`.
        ranks: how many parts.
    """
    work = calculate_workload(torch.tensor(lengths))
    parts = get_seqlen_balanced_partitions(work, k_partitions=ranks, equal_size=True)
    return [row for part in parts for row in part]
