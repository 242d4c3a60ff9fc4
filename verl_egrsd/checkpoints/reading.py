"""Reads a checkpoint of verl's FSDP engines: joins the shards of all ranks without a process group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from verl_egrsd.checkpoints.files import file_sentence, read_object, torch_problem
from verl_egrsd.checkpoints.places import RANKS, RANKS_FILE, RANKS_HOLDS, saved_step

LORA_KEY = re.compile(r"base_model\.model\.(?:.+\.)?(?P<module>\w+)\.lora_[AB]\.default\.weight")
"""peft's name of an adapter weight in a wrapped model."""

STUDENT_FILE = "model_world_size_{ranks}_rank_{rank}.pt"
TEACHER_FILE = "teacher_world_size_{ranks}_rank_{rank}.pt"
"""Files with a rank's shards: verl writes the student's; the teacher's are sharded in the same way."""

Weights = Literal["student", "teacher"]


@dataclass(frozen=True)
class Checkpoint:
    """The weights of student or teacher in a checkpoint, in the dtype of the checkpoint.

    Attributes:
        adapter: LoRA weights under peft's names; empty after full fine-tuning.
        own: all other weights under the model's names; empty when only the adapter was saved.
        lora: rank, alpha and task type (`r`, `lora_alpha`, `task_type`); empty without an adapter.
        base_model: folder or hub id of the base weights; None if the trainer did not record it.
        huggingface: folder with the model's configuration, tokenizer and generation config.
    """

    adapter: dict[str, Tensor]
    own: dict[str, Tensor]
    lora: dict[str, Any]
    base_model: str | None
    huggingface: Path


def read_checkpoint(folder: str | Path, weights: Weights = "student") -> Checkpoint:
    """Read `.../global_step_N`, or the `actor` folder in it.

    Args:
        folder: folder of the checkpoint.
        weights: "student" or "teacher"; the teacher's weights take the place of the trained ones.

    Raises:
        FileNotFoundError: naming the file that is missing, and the remedy.
        ValueError: for a file that is cut off, shards that do not fit together, or an adapter that is not
            plain LoRA.
    """
    saved = saved_step(folder)
    require_path(saved.weights, "name a folder global_step_N of a run, which has one")
    huggingface = require_path(saved.huggingface, "verl writes configuration and tokenizer there")
    adapter, own = _split(join_shards(saved.weights, weights))
    return Checkpoint(
        adapter=adapter,
        own=own,
        lora=_lora(saved.weights / "lora_train_meta.json") if adapter else {},
        base_model=saved.base_model,
        huggingface=huggingface,
    )


@torch.no_grad()
def join_shards(actor: Path, weights: Weights = "student") -> dict[str, Tensor]:
    """Join the shards that the ranks wrote into whole tensors, by name.

    Raises:
        FileNotFoundError: when `fsdp_config.json` or a rank's file is missing.
        ValueError: when the shards of a tensor do not add up to its shape, when their placement is not that
            of FSDP or HSDP, or when the checkpoint holds no weights of a teacher.
    """
    path = require_path(actor / RANKS_FILE, "it says how many ranks wrote the shards")
    ranks = read_object(path, RANKS_HOLDS, RANKS)[RANKS]
    student = _of_ranks(actor, STUDENT_FILE, ranks)
    parts = {name: [_local(shards[name]) for shards in student] for name in student[0]}
    if weights == "teacher":
        if not holds_teacher(actor):
            raise ValueError(
                f"{actor} holds no weights of a teacher: with teacher.refresh=frozen the teacher is the "
                "model that training started from, with current it is the student. Export that model, or the "
                "student (--weights student)."
            )
        teacher = _of_ranks(actor, TEACHER_FILE, ranks)
        parts |= {name: [shards[name] for shards in teacher] for name in teacher[0]}
    return {name: _join(name, parts[name], like) for name, like in student[0].items()}


def holds_teacher(actor: Path) -> bool:
    """Whether this folder of a checkpoint holds weights of a teacher."""
    return any(actor.glob(TEACHER_FILE.format(ranks="*", rank="*")))


def _of_ranks(actor: Path, pattern: str, ranks: int) -> list[dict[str, Any]]:
    paths = [actor / pattern.format(ranks=ranks, rank=rank) for rank in range(ranks)]
    for path in paths:
        require_path(path, f"the files of all {ranks} ranks are needed, copy those of the other nodes here")
        if problem := torch_problem(path):
            raise ValueError(file_sentence(path, problem, "the weights of one rank"))
    return [torch.load(path, map_location="cpu", mmap=True, weights_only=True) for path in paths]


def require_path(path: Path, remedy: str) -> Path:
    """Return the path if it exists.

    Raises:
        FileNotFoundError: with the path and the remedy.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {remedy}.")
    return path


def _join(name: str, parts: Sequence[Tensor], like: Any) -> Tensor:
    """Return one whole tensor, sharded as `like` is. What FSDP does not shard is equal on all ranks."""
    if not isinstance(like, DTensor):
        return parts[0]
    for placement in like.placements:
        if type(placement) not in (Shard, Replicate):
            raise ValueError(f"{name} is placed as {placement}: only FSDP and HSDP checkpoints can be read.")
    whole = _gather(parts, like.device_mesh.mesh, like.placements)
    if whole.shape != like.shape:
        raise ValueError(
            f"the shards of {name} join to shape {tuple(whole.shape)} instead of {tuple(like.shape)}: the "
            "rank files come from different checkpoints, or one is damaged."
        )
    return whole


def _local(part: Any) -> Tensor:
    return part.to_local() if isinstance(part, DTensor) else part


def _gather(parts: Sequence[Tensor], ranks: Tensor, placements: Sequence[Placement]) -> Tensor:
    """Undo the placements, outermost dimension first; `ranks` is the device mesh, `parts` are by rank."""
    if not placements:
        return parts[int(ranks)]
    outer, *inner = placements
    if not isinstance(outer, Shard):
        return _gather(parts, ranks[0], inner)
    return torch.cat([_gather(parts, sub_mesh, inner) for sub_mesh in ranks], dim=outer.dim)


def _lora(path: Path) -> dict[str, Any]:
    require_path(path, "it holds rank and alpha, copy it from the training run")
    return read_object(path, "rank, alpha and task type of the adapter as JSON")


def _split(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the adapter under peft's names, and the other weights without peft's wrapping."""
    adapter = {name: value for name, value in weights.items() if ".lora_" in name}
    for name in adapter:
        if not LORA_KEY.fullmatch(name):
            raise ValueError(
                f"{name} is not a plain LoRA weight: DoRA and embedding adapters cannot be read."
            )
    own = {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): value
        for name, value in weights.items()
        if name not in adapter
    }
    return adapter, own
