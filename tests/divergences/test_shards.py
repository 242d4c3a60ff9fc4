"""A vocabulary that is divided among two ranks gives what one rank with all of it gives."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.divergences.cases import SETTINGS, VOCABULARY, Case, case
from verl_egrsd.divergences import RowLoss, Shard, blocks, divergence

pytestmark = pytest.mark.stack

BOUNDS = ((0, 195), (195, VOCABULARY))
"""The second rank has fewer rows than some supports have entries."""


def measured(inputs: Case, rows: slice, shard: Shard | None) -> list[tuple[torch.Tensor, ...]]:
    """Return values and both gradients of every setting, with a policy term."""
    blocks.SLICE_BYTES = 3 * 2 * 8 * VOCABULARY
    loss = RowLoss(
        inputs.weights,
        advantages=inputs.weights - 0.5,
        old_log_probs=-8 * inputs.weights,
        ratio_cap=1.5,
    )
    found = []
    for settings in SETTINGS.values():
        hidden, head = inputs.student.detach().requires_grad_(), inputs.head.detach()[rows].requires_grad_()
        values = divergence(
            hidden,
            inputs.teacher,
            head,
            settings,
            teacher_weight=inputs.teacher_head[rows],
            token_ids=inputs.token_ids,
            row_loss=loss,
            score_temperature=0.9,
            shard=shard,
        )
        values.loss.sum().backward()
        found.append((*(value.detach() for value in values), hidden.grad, head.grad))
    return found


def on_rank(rank: int, store: str, results: str) -> None:
    """Measure one rank's part, and note what it refuses."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    shard = Shard(dist.group.WORLD, BOUNDS[rank][0])
    inputs = case()
    found = measured(inputs, slice(*BOUNDS[rank]), shard)
    inputs.token_ids[0] = VOCABULARY
    with pytest.raises(ValueError, match="each must be a row of head_weight"):
        measured(inputs, slice(*BOUNDS[rank]), shard)
    torch.save(found, f"{results}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_give_values_and_gradients_of_one(tmp_path):
    mp.spawn(on_rank, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    whole = measured(case(), slice(None), None)
    for rank, bounds in enumerate(BOUNDS):
        parts = torch.load(tmp_path / f"{rank}.pt")
        for part, (*values, of_head) in zip(parts, whole, strict=True):
            right = (*values, of_head[slice(*bounds)])
            for one, other in zip(part, right, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
