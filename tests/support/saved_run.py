"""Whole checkpoints of a run, as verl and this package write them, with tiny files."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from verl_egrsd.checkpoints.choice import TRACKER
from verl_egrsd.checkpoints.places import RANKS_FILE, STATE_FILE


def write_step(
    run: Path,
    step: int,
    state: Mapping[str, Any] | None = None,
    *,
    ranks: int = 1,
    supervised: bool = False,
    marked: bool = True,
) -> Path:
    """Write a checkpoint of a run and the file that names the latest one; return its folder."""
    folder = run / f"global_step_{step}"
    write_shards(folder if supervised else folder / "actor", ranks)
    (folder / STATE_FILE).write_text(json.dumps(state or {}))
    position = {"_num_yielded": step, "generator": torch.arange(3)}
    torch.save(position, folder / ("data_0.pt" if supervised else "data.pt"))
    if marked:
        (run / TRACKER).write_text(str(step))
    return folder


def write_shards(weights: Path, ranks: int = 1) -> None:
    """Write what verl's engines leave of each rank."""
    weights.mkdir(parents=True, exist_ok=True)
    rng = {
        "cpu": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "random": random.getstate(),
    }
    for rank in range(ranks):
        name = f"world_size_{ranks}_rank_{rank}.pt"
        torch.save({"layer.weight": torch.ones(4)}, weights / f"model_{name}")
        torch.save({"state": {0: {"step": torch.tensor(1.0)}}}, weights / f"optim_{name}")
        torch.save({"lr_scheduler": {"last_epoch": 1}, "rng": rng}, weights / f"extra_state_{name}")
    (weights / RANKS_FILE).write_text(json.dumps({"FSDP_version": 2, "world_size": ranks}))
