"""A model that brings Python code of its own: refused unless the user trusts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.checkpoints.places import local_file

_NAMES = ("config.json", "tokenizer_config.json")
"""A model has the first one, a tokenizer alone the second."""


def code_of_model(config: DictConfig) -> Iterator[str]:
    """Yield which file of a model or a tokenizer names code.

    verl's reward workers run the code of a tokenizer whatever `trust_remote_code` says.
    """
    model = config.actor_rollout_ref.model
    if model.get("trust_remote_code"):
        return
    for key in ("path", "tokenizer_path"):
        for file in files_with_code(model[key]) if model.get(key) else ():
            yield (
                f"actor_rollout_ref.model.{key}={model[key]} brings its own code (auto_map in {file.name}). "
                "verl runs it in its reward workers: take another model, or read the code and allow it with "
                "actor_rollout_ref.model.trust_remote_code=True."
            )


def files_with_code(model: str) -> list[Path]:
    """Return the files of a model that name code for transformers to run.

    Args:
        model: a folder, or a hub id; what is not in the hub's cache is not looked at. The trainer asks
            again when it has fetched the model's configuration and tokenizer, without running their code.
    """
    known = next(filter(None, (local_file(model, name) for name in _NAMES)), None)
    folder = known.parent if known else Path(model).expanduser()
    return sorted(file for file in folder.glob("*.json") if _names_code(file)) if folder.is_dir() else []


def _names_code(file: Path) -> bool:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # transformers refuses the file too, if it reads it
        return False
    return isinstance(content, dict) and "auto_map" in content
