"""The small model's weights that come with the checkout: one per name in `task.ROLES`.

A rehearsal starts in seconds with them, and the miniature begins with the same weights on every machine.
`weights/NAME/` holds two files of a build, unchanged: `model.safetensors` and `rehearsal.json`. When
tokenizer, task or training change, make them again:

    python -m recipes.rehearsal.build --out DIR --retrain
    python -m recipes.rehearsal.build --out DIR --retrain --roles miniature --steps 1500
    cp DIR/rehearsal.json DIR/model/model.safetensors recipes/rehearsal/weights/NAME/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import Qwen3ForCausalLM

WEIGHTS = Path(__file__).parent / "weights"
DECISIVE = ("seed", "steps", "roles", "manners")
"""Settings of a build that its weights depend on."""


def shipped_facts(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was measured of the shipped weights; None if the settings differ from theirs."""
    record = json.loads((WEIGHTS / settings["roles"] / "rehearsal.json").read_text(encoding="utf-8"))
    if any(record["settings"][key] != settings[key] for key in DECISIVE):
        return None
    return {key: record[key] for key in ("parameters", "training", "before_training")}


def load_shipped(model: Qwen3ForCausalLM, roles: str) -> None:
    """Load the weights of a name in `task.ROLES`; the head is the embedding.

    Raises:
        RuntimeError: when the tokenizer has another number of tokens than the one they were trained with.
    """
    weights = load_file(WEIGHTS / roles / "model.safetensors")
    model.load_state_dict(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
