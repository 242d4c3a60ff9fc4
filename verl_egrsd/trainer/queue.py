"""The one module that calls TransferQueue: columns of the current batch in, columns out.

Other modules import the type of its batch handle, and nothing else of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import torch
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta, interface


@contextmanager
def started(settings: Any) -> Iterator[None]:
    """Start TransferQueue with verl's section `transfer_queue`, and close it."""
    tq.init(settings)
    try:
        yield
    finally:
        tq.close()


def processes() -> list[Any]:
    """Return the handles of TransferQueue's controller and storage; of the latter those that we started."""
    controller = ray.get_actor("TransferQueueController", namespace="transfer_queue")
    return [controller, *(interface._TQ_STORAGE or {}).get("SimpleStorage", {}).values()]


def read(batch: KVBatchMeta, fields: Sequence[str]) -> TensorDict:
    """Fetch columns of a batch; token columns come back jagged.

    Raises:
        KeyError: when a column does not exist (TransferQueue itself skips unknown names silently).
    """
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(fields))
    missing = set(fields) - set(data.keys())
    if missing:
        raise KeyError(
            f"the batch has no column {', '.join(sorted(missing))}; it has {', '.join(sorted(data.keys()))}."
        )
    return data


def write(batch: KVBatchMeta, columns: Mapping[str, torch.Tensor]) -> KVBatchMeta:
    """Write token columns (jagged tensors, one entry per row of the batch, padding rows too).

    Returns:
        the batch with these columns; workers that are handed the old one do not fetch them.
    """
    return tq.kv_batch_put(
        keys=batch.keys,
        partition_id=batch.partition_id,
        fields=TensorDict(dict(columns), batch_size=len(batch)),
    )


def view(batch: KVBatchMeta, fields: Sequence[str], order: Sequence[int], **extra_info: Any) -> KVBatchMeta:
    """Return a fresh handle on some columns: a changed `batch.extra_info` would leak into later calls.

    Args:
        order: of the rows in the view; what is written through it finds its rows by key.
    """
    return KVBatchMeta(
        keys=[batch.keys[row] for row in order],
        tags=[batch.tags[row] for row in order],
        partition_id=batch.partition_id,
        fields=list(fields),
        extra_info=extra_info,
    )


def drop(batch: KVBatchMeta, keys: Sequence[str]) -> KVBatchMeta:
    """Return the batch without some of its rows; their data is deleted."""
    tq.kv_clear(keys=list(keys), partition_id=batch.partition_id)
    return batch.select_keys([key for key in batch.keys if key not in set(keys)])


def valid_rows(batch: KVBatchMeta) -> torch.Tensor:
    """Return a bool mask (batch,) that leaves out the padding rows that verl appends."""
    return torch.tensor([not tag.get("is_padding", False) for tag in batch.tags])


def prompt_lengths(batch: KVBatchMeta) -> torch.Tensor:
    """Return the tokens of each row's prompt (batch,)."""
    return torch.tensor([tag["prompt_len"] for tag in batch.tags])


def jagged(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return rows of different lengths as one jagged tensor."""
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def rows(column: Any) -> list[Any]:
    """Return a non-tensor column as a list; TransferQueue hands out stacks, arrays and plain lists."""
    return column.tolist() if hasattr(column, "tolist") else list(column)
