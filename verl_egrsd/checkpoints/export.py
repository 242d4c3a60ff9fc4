"""Turn a training checkpoint into weights that vLLM, transformers and peft load.

With `save_lora_only` a checkpoint holds the adapter only, and records its base model. peft merges the two in
float32. verl's own merger would ignore the adapter and save the base weights as the model.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from verl_egrsd.checkpoints.card import MODEL_CARD, model_card
from verl_egrsd.checkpoints.places import saved_step
from verl_egrsd.checkpoints.reading import LORA_KEY, Checkpoint, Weights, read_checkpoint
from verl_egrsd.output.files import completed_folder, write_completed
from verl_egrsd.output.named import HUB_ID

Form = Literal["merged", "adapter"]
Dtype = Literal["bfloat16", "float32"]

_NOT_TOKENIZER = ("config.json", "*.safetensors", "*.safetensors.index.json", "*.bin", "*.pt")


def export(
    checkpoint: str | Path,
    out: str | Path,
    *,
    base_model: str | Path | None = None,
    weights: Weights = "student",
    form: Form = "merged",
    dtype: Dtype = "bfloat16",
    evaluations: Sequence[str | Path] = (),
) -> Path:
    """Write a checkpoint as a model folder (`merged`) or as a peft adapter folder (`adapter`).

    Both hold the tokenizer, the generation config and a model card (README.md). The folder gets its name only
    when it is complete. Merging needs host memory for the whole model in float32.

    Args:
        checkpoint: `.../global_step_N`, or the `actor` folder in it.
        out: folder to write; it must not exist.
        base_model: folder or hub id of the base weights; None takes the one that the trainer recorded.
            Merging a checkpoint that holds all weights does not need it.
        weights: "student", or "teacher" if the teacher has weights of its own: it moves (`teacher.refresh`
            copy or ema), or training started from an adapter.
        form: "merged" (ready for vLLM) or "adapter" (LoRA checkpoints only).
        dtype: dtype of merged weights. They are merged in float32; bfloat16 rounds the result once, as vLLM
            does when it loads. An adapter keeps the dtype that it was saved in.

        evaluations: folders of finished evaluations whose results the card shows.

    Returns:
        `out`.

    Raises:
        FileExistsError: when `out` exists.
        FileNotFoundError: naming the file or folder that is missing, and the remedy.
        ValueError: when the checkpoint, the base model and the form do not fit together.
    """
    out = Path(out)
    allowed = {"weights": Weights, "form": Form, "dtype": Dtype}
    for name, value in (("weights", weights), ("form", form), ("dtype", dtype)):
        choices = get_args(allowed[name])
        if value not in choices:
            raise ValueError(f"{name}={value!r} is not allowed: it must be one of {', '.join(choices)}.")
    with completed_folder(out) as folder:
        source = read_checkpoint(checkpoint, weights)
        base = str(base_model or source.base_model or "")
        step, folders = saved_step(checkpoint).path, [Path(name) for name in evaluations]
        card = model_card(step, base=base, form=form, weights=weights, evaluations=folders)
        if form == "adapter":
            _write_adapter(source, base, folder)
        else:
            merged_model(source, base).to(getattr(torch, dtype)).save_pretrained(folder)
        ignored = shutil.ignore_patterns(*_NOT_TOKENIZER)
        shutil.copytree(source.huggingface, folder, ignore=ignored, dirs_exist_ok=True)
        write_completed(folder / MODEL_CARD, card)
    return out


def _write_adapter(source: Checkpoint, base: str, folder: Path) -> None:
    if not source.adapter:
        raise ValueError("the checkpoint holds no adapter (full fine-tuning): export it with form=merged.")
    _require_base(base)
    tensors = {name.replace(".default.", "."): value.contiguous() for name, value in source.adapter.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    _lora_config(source, base).save_pretrained(folder)


def merged_model(source: Checkpoint, base: str) -> Any:
    """Return the model with all its weights in float32."""
    if source.own:
        config = AutoConfig.from_pretrained(source.huggingface)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(source.own)
    else:
        _require_base(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return _with_adapter(model, source, base) if source.adapter else model


def _with_adapter(model: Any, source: Checkpoint, base: str) -> Any:
    wrapped = get_peft_model(model, _lora_config(source))
    shapes = {name: value.shape for name, value in wrapped.state_dict().items()}
    strangers = [name for name, value in source.adapter.items() if shapes.get(name) != value.shape]
    if strangers:
        raise ValueError(
            f"{len(strangers)} of {len(source.adapter)} adapter weights do not fit the base model {base}, "
            f"first {strangers[0]}: name the model that training started from (--base)."
        )
    wrapped.load_state_dict(source.adapter, strict=False)
    return wrapped.merge_and_unload()


def _lora_config(source: Checkpoint, base: str | None = None) -> LoraConfig:
    modules = {match["module"] for name in source.adapter if (match := LORA_KEY.fullmatch(name))}
    return LoraConfig(
        **{key: source.lora[key] for key in ("r", "lora_alpha", "task_type")},
        target_modules=sorted(modules),
        base_model_name_or_path=base,
        inference_mode=True,
    )


def _require_base(base: str) -> None:
    """Refuse a missing base model, and a path that does not exist on this machine."""
    if not base:
        raise ValueError("the checkpoint does not name its base model: name it (--base).")
    if not Path(base).is_dir() and not HUB_ID.fullmatch(base):
        raise FileNotFoundError(
            f"the base model {base} is not a folder here: name folder or hub id (--base)."
        )
