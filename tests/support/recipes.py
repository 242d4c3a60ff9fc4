"""The recipes as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import warm_python

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal showed while it trained and at its end, its folder, its log, metrics of each step."""

    shown: str
    summary: str
    folder: Path
    entries: list[dict[str, Any]]
    steps: dict[int, dict[str, Any]]


def recipe(name: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a recipe with overrides of Hydra and variables of the environment."""
    stock = {key: value for key, value in os.environ.items() if key != "VERL_PLATFORM"}
    return subprocess.run(
        ["bash", f"recipes/{name}.sh", *overrides],
        cwd=REPOSITORY,
        env=stock | environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def gpu_recipe(name: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a recipe for GPUs, whose interpreter the user may choose."""
    forked = {"PYTHON": warm_python.python()} | warm_python.environment()
    return recipe(name, *overrides, **forked | environment)


def rehearse(*overrides: str, **environment: str) -> Rehearsal:
    """Rehearse under a fresh name, to the end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    done = recipe("rehearse_cpu", *overrides, RUN_NAME=name, **environment)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-6000:]
    folder = REPOSITORY / "outputs" / name
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = {e["step"]: e["data"] for e in entries if "training/global_step" in e["data"]}
    return Rehearsal(done.stderr, done.stdout, folder, entries, steps)
