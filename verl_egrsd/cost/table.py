"""Does it fit? Models and hardware of the presets, by the memory model: the table of docs/hardware.md."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from verl_egrsd.configs.composing import composed
from verl_egrsd.cost.memory import Plan, misfits, phases
from verl_egrsd.cost.remedy import remedy
from verl_egrsd.cost.seconds import GPUS
from verl_egrsd.cost.settings import plan_of
from verl_egrsd.cost.shape import KNOWN_SHAPES, QWEN3_4B
from verl_egrsd.output.tables import text_table
from verl_egrsd.preflight import preflight

HARDWARE = ("gpu1", "gpu4", "gpu8_40g", "gpu8", "multinode")
TRAINED: dict[str, dict[str, Any]] = {"LoRA": {}, "all weights": {"lora_rank": 0}}
ANSWER_CAPS = (1_024, 16_384)
"""Caps of an answer, tokens: the paper's, and that of THINKING=1."""
LETTERS = {
    "ppo_max_token_len_per_gpu": "m",
    "gpu_memory_utilization": "u",
    "tensor_model_parallel_size": "t",
    "param_offload": "o",
}
"""Settings of a remedy, by the last part of their key; docs/hardware.md explains the letters."""


def fit_table() -> str:
    """Return a line per model, way of training and cap of an answer, with a column per hardware."""
    plans = {(name, cap): _plan(name, cap) for name in HARDWARE for cap in ANSWER_CAPS}
    rows = []
    for model, shape in KNOWN_SHAPES.items():
        for trained, changes in TRAINED.items():
            for cap in ANSWER_CAPS:
                cells = (verdict(replace(plans[name, cap], shape=shape, **changes)) for name in HARDWARE)
                rows.append((model, trained, f"{cap:,}", *cells))
    return text_table(("model", "trained", "answers", *HARDWARE), rows, "lll" + "l" * len(HARDWARE))


def verdict(plan: Plan) -> str:
    """Return the gigabytes of the largest phase if a plan fits, else the letters of its remedy, or "no"."""
    if not misfits(plan):
        return f"{max(phase.total for phase in phases(plan)) / 1e9:.0f} GB"
    change = remedy(plan)
    return "no" if change is None else _letters(change)


def _letters(change: str) -> str:
    """Return the letters of some settings; two of them mean nothing without their value."""
    found = re.findall(r"(\w+)=([\w.]+)", change)
    letters = ((LETTERS[key], value) for key, value in found if key in LETTERS)
    return ", ".join(letter if letter in "mo" else f"{letter} {value}" for letter, value in letters)


def _plan(hardware: str, cap: int) -> Plan:
    words = ["preset=egrsd", "model=qwen3_4b", f"hardware={hardware}", f"data.max_response_length={cap}"]
    config = composed("verl_egrsd.configs", "egrsd", words)
    method, teacher = preflight(config)
    return plan_of(config, method, teacher, QWEN3_4B, GPUS[config.check.gpu].memory)


if __name__ == "__main__":
    print(fit_table())
