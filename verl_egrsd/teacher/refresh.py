"""The weights of a teacher that is not the initial model: held on every rank, moved after each update.

    teacher <- decay * teacher + (1 - decay) * student

A copy is a decay of 0, a moving average one between 0 and 1 (arXiv 2605.13255 compares both). Under LoRA the
average is of the matrices A and B, not of their product. The teacher begins with the weights that training
starts from, so step k is scored by the teacher after k - 1 updates.

Every function here works on the shards of one rank, without communication.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from verl_egrsd.config import TeacherConfig

Shards = dict[str, Tensor]
"""This rank's part of each trained parameter, by name. Writing to it writes to the parameter."""


def decay_after(teacher: TeacherConfig, step: int) -> float:
    """Return the decay with which the teacher moves after the update of a training step; 1 keeps it."""
    if teacher.every is not None:
        return 0.0 if step % teacher.every == 0 else 1.0
    return 1.0 if teacher.decay is None else teacher.decay


def mean_age(teacher: TeacherConfig, step: int) -> float:
    """Return the age of the weights that score a training step, in steps; the student's own weights have age
    0.

    A moving average mixes weights of many steps: its age is the mean over their shares.
    """
    updates = step - 1
    if teacher.every is not None:
        return float(updates % teacher.every)
    if teacher.decay is not None:
        return teacher.decay * (1 - teacher.decay**updates) / (1 - teacher.decay)
    return float(updates)


class TeacherWeights:
    """The teacher's weights on this rank.

    Without a reference model they are float32 copies of the trained weights (the adapter), which replace the
    student's while the teacher scores. With a reference model they are its own shards.

    Raises:
        ValueError: when the reference model is sharded in another way than the student.
    """

    def __init__(self, student: nn.Module, reference: nn.Module | None = None) -> None:
        self.student, self.reference = student, reference
        if reference is None:
            self._copies = {
                name: shard.to(torch.float32, copy=True) for name, shard in trained_shards(student).items()
            }
        else:
            _require_alike(student, reference)

    def shards(self) -> Shards:
        """Return the teacher's weights on this rank, by name."""
        return self._copies if self.reference is None else _shards(self.reference, _first_names(self.student))

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move towards the student; a decay of 0 copies it."""
        student = trained_shards(self.student)
        for name, shard in self.shards().items():
            shard.lerp_(student[name].to(shard), 1 - decay)

    @torch.no_grad()
    def squared_norms(self) -> Tensor:
        """Return |teacher - student|^2 and |student|^2 over this rank's shards, (2,), float64."""
        student, sums = trained_shards(self.student), torch.zeros(2, dtype=torch.float64)
        for name, shard in self.shards().items():
            other = student[name].to(shard)
            norms = [torch.linalg.vector_norm(x, dtype=torch.float64) for x in (shard - other, other)]
            sums += torch.stack(norms).cpu().square()
        return sums

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Replace the student's weights by the teacher's for the block, and restore them bit for bit.

        A reference model holds the teacher's weights already. The student's parameters are looked up again at
        the end, because an engine that offloads them makes new ones.
        """
        if self.reference is not None:
            yield
            return
        kept = {name: shard.clone() for name, shard in trained_shards(self.student).items()}
        _write(trained_shards(self.student), self._copies)
        try:
            yield
        finally:
            _write(trained_shards(self.student), kept)

    def state_dict(self) -> Shards:
        """Return the shards for a checkpoint, in host memory; a tied parameter has an entry for each name."""
        shards = {name: shard.cpu() for name, shard in self.shards().items()}
        return {name: shards[first] for name, first in _first_names(self.student).items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the shards of a checkpoint.

        Raises:
            ValueError: when they belong to another model or to another number of ranks.
        """
        own = self.shards()
        shards = {name: own[first] for name, first in _first_names(self.student).items()}
        for name in shards.keys() | state.keys():
            here, there = (tuple(found[name].shape) if name in found else None for found in (shards, state))
            if here != there:
                raise ValueError(
                    f"the teacher's {name} has the shape {there} in the checkpoint and {here} on this rank: "
                    "resume with the model, the adapter's rank and the number of ranks of the checkpoint."
                )
        _write(shards, state)


def trained_shards(module: nn.Module) -> Shards:
    """Return this rank's part of every trained parameter; a tied parameter appears once."""
    return _shards(module, _first_names(module))


def _first_names(module: nn.Module) -> dict[str, str]:
    """Map each name of a trained parameter to its first name: an embedding may be tied to the head."""
    first = {parameter: name for name, parameter in module.named_parameters()}
    names = module.named_parameters(remove_duplicate=False)
    return {name: first[parameter] for name, parameter in names if parameter.requires_grad}


def _shards(module: nn.Module, names: Mapping[str, str]) -> Shards:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()  # verl offloads without waiting for the copies in host memory
    # A gathered parameter replaces its shards, and the next pass would not see what is written.
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    parameters = dict(module.named_parameters())
    return {name: _local(parameters[name].detach()) for name in dict.fromkeys(names.values())}


def _local(parameter: Any) -> Tensor:
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


@torch.no_grad()
def _write(shards: Shards, values: Mapping[str, Tensor]) -> None:
    for name, shard in shards.items():
        shard.copy_(values[name])


def _require_alike(student: nn.Module, reference: nn.Module) -> None:
    trained_shards(student), trained_shards(reference)
    others = dict(reference.named_parameters())
    for name, parameter in student.named_parameters():
        if parameter.requires_grad and _layout(parameter) != _layout(others.get(name)):
            raise ValueError(
                f"{name} is sharded differently in the reference engine than in the actor: "
                "give actor_rollout_ref.ref.fsdp_config the fsdp_size and the wrap_policy of "
                "actor_rollout_ref.actor.fsdp_config."
            )


def _layout(parameter: Any) -> Any:
    """Return how a parameter is sharded over the ranks."""
    mesh = getattr(parameter, "device_mesh", None)
    ranks = None if mesh is None else mesh.mesh.tolist()
    return getattr(parameter, "shape", None), getattr(parameter, "placements", None), ranks
