"""The trainer's hook: collects the metrics of each step and writes the report after every validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from verl_egrsd.report.curves import draw
from verl_egrsd.report.history import History
from verl_egrsd.report.page import facts, page
from verl_egrsd.report.settings import ReportConfig
from verl_egrsd.visuals import render

STEPS_FILE, JSON_FILE, HTML_FILE, PNG_FILE = "report.jsonl", "report.json", "report.html", "curves.png"
PACKAGES = ("verl_egrsd", "verl", "torch", "transformers", "ray", "TransferQueue", "tensordict", "numpy")
"""What a run depends on; the rollout engine is added under its own name."""


class RunReport:
    """The report of a run in a folder: `report.jsonl` grows with every step, the rest follows validations.

    Args:
        config: folder and thresholds.
        run: what is known at the start, see :func:`describe`.
        resumed_at: step that the run resumes from; 0 starts a new report.
    """

    def __init__(self, config: ReportConfig, run: Mapping[str, Any], resumed_at: int) -> None:
        self.config, self.run, self.resumed_at = config, run, resumed_at
        self.folder = Path(config.folder)
        self.history = History(self.folder / STEPS_FILE, resumed_at)

    def record(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take in the metrics of a step; after a validation, and at the last step, write the report."""
        self.history.record(step, metrics)
        if step >= self.run["total_steps"] or any(name.startswith("val-") for name in metrics):
            self.write()

    def write(self) -> None:
        """Write report.json, report.html and curves.png; each replaces the one before in one go."""
        report = facts(self.run, self.history.steps, self.config.thresholds)
        picture = draw(self.history.steps)
        _replace(self.folder / JSON_FILE, json.dumps(report, indent=1, ensure_ascii=False).encode())
        _replace(self.folder / HTML_FILE, page(report, picture).encode())
        _replace(self.folder / PNG_FILE, render(picture, "png"))


def describe(
    settings: Mapping[str, Any], total_steps: int, data: Mapping[str, Sequence[str | Path]]
) -> dict[str, Any]:
    """Return what is known of a run at its start.

    Args:
        settings: the whole resolved configuration.
        total_steps: training steps that the run is to have.
        data: local parquet files by split.
    """
    engine = settings["actor_rollout_ref"]["rollout"]["name"]
    packages = (*PACKAGES, engine) if engine in ("vllm", "sglang") else PACKAGES
    return {
        "name": settings["trainer"]["experiment_name"],
        "date": date.today().isoformat(),
        "total_steps": total_steps,
        "versions": {"python": python_version(), **{name: version(name) for name in packages}},
        "data": {split: [_file(Path(path)) for path in paths] for split, paths in data.items()},
        "settings": settings,
    }


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": str(path), "bytes": path.stat().st_size, "sha256": digest}


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)
