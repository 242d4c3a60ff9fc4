"""The model to evaluate: a model folder, a LoRA adapter over a base, or a checkpoint of a training run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download

from verl_egrsd.checkpoints.export import Form, export
from verl_egrsd.checkpoints.reading import read_checkpoint

Kind = Literal["model", "adapter", "checkpoint"]

CONTENT = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors", "*.bin", "model_*.pt")
"""Files that affect the answers: weights, configuration, tokenizer, chat template."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


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
        actor = self.path if self.path.name == "actor" else self.path / "actor"
        return _sha256([actor, actor / "huggingface"] if self.kind == "checkpoint" else [self.path])

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
    path = Path(name)
    if (path / "adapter_config.json").exists():
        noted = json.loads((path / "adapter_config.json").read_text()).get("base_model_name_or_path")
        return Source("adapter", path, _base(name, base or noted))
    is_checkpoint = path.name == "actor" or (path / "actor").is_dir()
    if is_checkpoint and (checkpoint := read_checkpoint(path)).adapter:
        return Source("checkpoint", path, _base(name, base or checkpoint.base_model))
    if base:
        raise ValueError(f"{name} holds whole weights, so --base {base} has no effect: leave it out.")
    return Source("checkpoint", path, None) if is_checkpoint else Source("model", _folder(name), None)


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
    rank = json.loads((source.path / "adapter_config.json").read_text())["r"]
    return Servable(source.base, source.path, rank)


def _base(name: str, base: str | None) -> Path:
    if not base:
        raise ValueError(
            f"{name} does not record its base model: name the model that it was trained from (--base)."
        )
    return _folder(base)


def _folder(name: str) -> Path:
    """Return the folder of a model, from the hub when the name is a hub id."""
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise FileNotFoundError(
                f"{path} is not a model: it has no config.json, adapter_config.json or actor/."
            )
        return path
    if not HUB_ID.fullmatch(name):
        raise FileNotFoundError(f"{name} is neither a folder nor a hub id: pass one of the two.")
    return Path(snapshot_download(name, allow_patterns=list(CONTENT)))


def _sha256(folders: Iterable[Path]) -> str:
    """Return one SHA-256 over names and contents of the files in the folders, not of those below them."""
    whole = hashlib.sha256()
    for path in sorted({file for folder in folders for kind in CONTENT for file in folder.glob(kind)}):
        with path.open("rb") as file:
            whole.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
