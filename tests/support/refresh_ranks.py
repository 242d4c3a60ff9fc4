"""A teacher that follows a student of two small layers: in one process, or shared by two under FSDP2.

`python refresh_ranks.py FOLDER` runs two ranks; each writes what :func:`follow_student` found.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from verl_egrsd.teacher.refresh import TeacherWeights, trained_shards

RANKS, DECAY = 2, 0.9
ROWS = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))


class Layers(nn.Module):
    """Seven and three rows of weights, which two ranks cannot share evenly."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base, self.adapter = nn.Linear(5, 7), nn.Linear(7, 3)

    def forward(self, rows: Tensor) -> Tensor:
        """Return three numbers for each row."""
        return self.adapter(self.base(rows).tanh())


def model(*, frozen_base: bool = False, sharded: bool = False) -> Layers:
    """Return the layers; the base is not trained where it stands for the model under an adapter."""
    layers = Layers()
    layers.base.requires_grad_(not frozen_base)
    if sharded:
        mesh = init_device_mesh("cpu", (RANKS,))
        fully_shard(layers.base, mesh=mesh)
        fully_shard(layers, mesh=mesh)
    return layers


@torch.no_grad()
def outputs(layers: nn.Module) -> Tensor:
    """Return what a model makes of the rows."""
    return layers(ROWS).clone()


@torch.no_grad()
def train(layers: nn.Module, seed: int) -> None:
    """Move every trained weight, as an update does; by the same numbers on any number of ranks."""
    generator = torch.Generator().manual_seed(seed)
    shards = trained_shards(layers)
    for name, parameter in layers.named_parameters():
        if parameter.requires_grad:
            whole = 0.1 * torch.randn(parameter.shape, generator=generator)
            mine = whole.chunk(RANKS)[dist.get_rank()] if dist.is_initialized() else whole
            shards[name].add_(mine)


def teacher_outputs(weights: TeacherWeights) -> Tensor:
    """Return what the teacher makes of the rows."""
    with weights.standing_in():
        return outputs(weights.reference or weights.student)


def follow_student(*, sharded: bool) -> dict[str, Any]:
    """Let a teacher follow: as copies beside an adapter, and as the shards of a reference model."""
    found: dict[str, Any] = {}
    for name in ("adapter", "reference"):
        student = model(frozen_base=name == "adapter", sharded=sharded)
        reference = model(sharded=sharded) if name == "reference" else None
        weights = TeacherWeights(student, reference)
        seen = {"untrained": outputs(student), "before": teacher_outputs(weights)}
        for seed in range(3):
            train(student, seed)
            weights.follow(DECAY)
        before = {key: shard.clone() for key, shard in trained_shards(student).items()}
        seen |= {"student": outputs(student), "average": teacher_outputs(weights)}
        seen["again"] = outputs(student)
        after = trained_shards(student)
        seen["restored"] = all(torch.equal(shard, after[key]) for key, shard in before.items())
        seen["norms"] = weights.squared_norms()
        saved = {key: shard.clone() for key, shard in weights.state_dict().items()}
        weights.follow(0.0)
        seen |= {"copy": teacher_outputs(weights), "norms_of_copy": weights.squared_norms()}
        weights.load_state_dict(saved)
        seen["loaded"] = teacher_outputs(weights)
        found[name] = seen
    return found


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=RANKS)
    torch.save(follow_student(sharded=True), Path(folder) / f"rank_{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    # Forked, so that torch is imported once.
    processes.start_processes(_rank, (sys.argv[1],), nprocs=RANKS, start_method="fork")
