"""The model to evaluate: a model folder, a LoRA adapter over a base, or a checkpoint of a training run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from verl_egrsd.checkpoints.export import Form, export
from verl_egrsd.checkpoints.places import Adapter, HubId, Model, SavedStep, find_place
from verl_egrsd.checkpoints.reading import read_checkpoint
from verl_egrsd.output.files import file_digest

Kind = Literal["model", "adapter", "checkpoint"]

CONTENT = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors", "*.bin", "model_*.pt")
"""Files that affect the answers: weights, configuration, tokenizer, chat template."""


@dataclass(frozen=True)
class Source:
    """A model on disk.

    Attributes:
        kind: "model" (whole weights), "adapter" (a peft folder) or "checkpoint" (`global_step_N`).
        path: its folder.
        base: folder of the base model, None for whole weights.
    """

    kind: Kind
    path: Path
    base: Path | None

    @property
    def sha256(self) -> str:
        """SHA-256 of the files that affect the answers."""
        saved = SavedStep(self.path)
        return _sha256([saved.weights, saved.huggingface] if self.kind == "checkpoint" else [self.path])

    @property
    def base_sha256(self) -> str | None:
        """The same for the base model."""
        return _sha256([self.base]) if self.base else None


@dataclass(frozen=True)
class Servable:
    """What vLLM loads.

    Attributes:
        model: folder with whole weights, tokenizer and chat template.
        adapter: peft folder; None without an adapter.
        rank: rank of the adapter; 0 without an adapter.
    """

    model: Path
    adapter: Path | None = None
    rank: int = 0


def find_model(name: str, base: str | None = None) -> Source:
    """Find out what kind of model a name refers to.

    Args:
        name: a model folder or hub id, a peft adapter folder, or `global_step_N` of a training run.
        base: folder or hub id of the base model; None takes the one recorded in the adapter or checkpoint.

    Raises:
        FileNotFoundError: when there is no such model, or no such base.
        ValueError: when a base is given for whole weights, or when the base is needed and unknown.
    """
    place = find_place(name)
    if isinstance(place, Adapter):
        return Source("adapter", place.path, _base(name, base or place.base_model))
    if isinstance(place, SavedStep) and read_checkpoint(place.path).adapter:
        return Source("checkpoint", place.path, _base(name, base or place.base_model))
    if base:
        raise ValueError(f"{name} holds whole weights, so --base {base} has no effect: leave it out.")
    if isinstance(place, SavedStep):
        return Source("checkpoint", place.path, None)
    return Source("model", _folder(place), None)


def servable(source: Source, cache: Path) -> Servable:
    """Return what vLLM loads; a checkpoint is exported into `cache` first, once.

    A LoRA checkpoint is exported as an adapter and not merged: merging rounds to bfloat16, and the rounding
    is as large as a small update.
    """
    if source.kind == "checkpoint":
        form: Form = "adapter" if source.base else "merged"
        if not cache.exists():
            export(source.path, cache, base_model=source.base, form=form)
        return servable(Source("adapter" if source.base else "model", cache, source.base), cache)
    if source.base is None:
        return Servable(source.path)
    return Servable(source.base, source.path, Adapter(source.path).rank)


def _base(name: str, base: str | None) -> Path:
    if not base:
        raise ValueError(
            f"{name} does not record its base model: name the model that it was trained from (--base)."
        )
    place = find_place(base)
    if not isinstance(place, Model | HubId):
        raise ValueError(f"{base}, the base of {name}, does not hold whole weights: name a model (--base).")
    return _folder(place)


def _folder(place: Model | HubId) -> Path:
    return place.path if isinstance(place, Model) else place.download(CONTENT)


def _sha256(folders: Iterable[Path]) -> str:
    """Return one SHA-256 over names and contents of the files in the folders, not of those below them."""
    whole = hashlib.sha256()
    for path in sorted({file for folder in folders for kind in CONTENT for file in folder.glob(kind)}):
        whole.update(f"{path.name} {file_digest(path)}\n".encode())
    return whole.hexdigest()
