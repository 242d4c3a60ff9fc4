"""The metrics of a run by step, in the form of verl's `metrics.jsonl`; a resume keeps the earlier steps."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import Any

from verl_egrsd.output.files import write_completed
from verl_egrsd.output.full_disk import named_if_full

Steps = dict[int, dict[str, float]]
"""Metrics by step; step 0 is the validation before the training."""


def read_steps(path: Path) -> Steps:
    """Return the metrics of each step from JSON lines {"step", "data"}; lines of one step are merged.

    Null, which stands for a value that is not finite, becomes NaN. An unfinished last line, as a crash leaves
    it, is ignored.
    """
    steps: Steps = {}
    text = path.read_text(encoding="utf-8")
    for line in text[: text.rfind("\n") + 1].splitlines():
        entry = json.loads(line)
        data = {name: math.nan if value is None else value for name, value in entry["data"].items()}
        steps.setdefault(entry["step"], {}).update(data)
    return dict(sorted(steps.items()))


def training_steps(steps: Steps) -> list[dict[str, float]]:
    """Return the metrics of the steps that trained, in order."""
    return [metrics for _, metrics in sorted(steps.items()) if "training/global_step" in metrics]


def metric_names(steps: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the names of the metrics of some steps, in alphabetical order."""
    return sorted(set(chain.from_iterable(steps)))


class History:
    """Metrics of every step so far, in memory and in a file.

    Args:
        path: the file.
        resumed_at: step of the checkpoint that the run resumes from. Earlier metrics are kept up to that
            step. Later steps are trained again, so their old metrics are dropped. 0 starts anew.
    """

    def __init__(self, path: Path, resumed_at: int) -> None:
        self.path = path
        earlier = read_steps(path) if resumed_at and path.exists() else {}
        self.steps: Steps = {step: data for step, data in earlier.items() if step <= resumed_at}
        write_completed(path, "".join(_line(step, data) for step, data in self.steps.items()))

    def record(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add metrics of a step; values that are not numbers, such as verl's tables, are left out."""
        data = {name: float(value) for name, value in metrics.items() if isinstance(value, Real)}
        self.steps.setdefault(step, {}).update(data)
        with named_if_full(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(step, data))


def json_number(value: float) -> float | None:
    """Return a number for JSON; NaN and infinity become null."""
    return value if math.isfinite(value) else None


def _line(step: int, data: Mapping[str, float]) -> str:
    return json.dumps({"step": step, "data": {name: json_number(data[name]) for name in data}}) + "\n"
