"""The weights of student and teacher, from a checkpoint, an adapter or a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from verl_egrsd.checkpoints.export import merged_model
from verl_egrsd.checkpoints.places import Adapter, SavedStep, find_place
from verl_egrsd.checkpoints.reading import holds_teacher, read_checkpoint


@dataclass(frozen=True)
class ModelWeights:
    """Student and teacher, each loaded when it is needed: a small machine may hold only one at a time.

    Attributes:
        tokenizer: folder or hub id of the tokenizer.
        student: loads the student, float32, adapter merged.
        teacher: loads the teacher; None if it has the student's weights.
        teacher_name: where the teacher comes from, for the reader.
        state: the state that the trainer saved in the checkpoint; {} without a checkpoint.
    """

    tokenizer: str
    student: Callable[[], Any]
    teacher: Callable[[], Any] | None
    teacher_name: str
    state: dict[str, Any]


def find_weights(source: str, base: str | None) -> ModelWeights:
    """Return how student and teacher are loaded.

    Args:
        source: checkpoint folder `global_step_N`, peft adapter folder, model folder or hub id.
        base: folder or hub id of the initial weights, which are the teacher's unless the checkpoint holds
            teacher weights; None takes the base that checkpoint or adapter record, else the model itself.

    Raises:
        FileNotFoundError: naming the file that a checkpoint lacks.
        ValueError: for a checkpoint that does not name its base model.
    """
    place = find_place(source, also=["*.parquet"])
    if isinstance(place, SavedStep):
        return _checkpoint(place, base)
    if isinstance(place, Adapter):
        return _adapter(place, base)
    teacher = None if base is None else lambda: _load(base)
    return ModelWeights(place.name, lambda: _load(place.name), teacher, base or "the model itself", {})


def _checkpoint(saved: SavedStep, base: str | None) -> ModelWeights:
    source = read_checkpoint(saved.path)
    initial = base or saved.base_model
    if not initial:
        raise ValueError(f"{saved.path} does not name its base model: name it (--base).")
    teacher, name = _teacher(saved, initial)
    return ModelWeights(
        tokenizer=str(saved.huggingface),
        student=lambda: merged_model(source, initial).eval(),
        teacher=teacher,
        teacher_name=name,
        state=saved.state or {},
    )


def _teacher(saved: SavedStep, initial: str) -> tuple[Callable[[], Any] | None, str]:
    """Return a loader of the teacher that a checkpoint was trained with, and its name for the reader."""
    settings = (saved.state or {}).get("fingerprint", {})
    if settings.get("actor_rollout_ref.teacher.refresh") == "current":
        return None, "the student itself"
    if holds_teacher(saved.weights):
        source = read_checkpoint(saved.path, "teacher")
        return lambda: merged_model(source, initial).eval(), f"the teacher of {saved.path}"
    return lambda: _load(initial), initial


def _adapter(adapter: Adapter, base: str | None) -> ModelWeights:
    folder, initial = str(adapter.path), base or adapter.base_model
    if not initial:
        raise ValueError(f"{folder} does not name its base model: name it (--base).")
    return ModelWeights(
        tokenizer=folder,
        student=lambda: PeftModel.from_pretrained(_load(initial), folder).merge_and_unload(),
        teacher=lambda: _load(initial),
        teacher_name=initial,
        state={},
    )


def _load(path: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
