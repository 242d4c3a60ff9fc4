"""The trainer's hook: collects the metrics of each step, and updates the report of the run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from verl_egrsd.output.files import file_digest, write_completed
from verl_egrsd.output.pictures import render
from verl_egrsd.output.redaction import redacted, secrets_of_environment
from verl_egrsd.report.curves import draw_curves
from verl_egrsd.report.ending import Ending, ending
from verl_egrsd.report.history import History
from verl_egrsd.report.lines import step_lines
from verl_egrsd.report.page import facts, report_page
from verl_egrsd.report.settings import ReportConfig

STEPS_FILE, JSON_FILE, HTML_FILE, PNG_FILE = "report.jsonl", "report.json", "report.html", "curves.png"
_PACKAGES = ("verl_egrsd", "verl", "torch", "transformers", "ray", "TransferQueue", "tensordict", "numpy")
"""Packages whose versions the report names; the rollout engine is added under its own name."""
ReportMark = tuple[int, int] | None
"""Number and time of a report's file; each write makes a new one."""
DRAWING_SHARE = 0.05
"""Largest share of a run's time spent on drawing: short steps do not get new curves every time."""
DRAWING_SECONDS = 1.0
"""What drawing is taken to last until it has been measured."""


class RunReport:
    """The report of a run in a folder, from its start to its end.

    Every step is written. The picture of the curves, a file of its own, is drawn after a validation, at the
    end, and after other steps as long as drawing takes a small share of the run's time.

    Args:
        config: folder and thresholds.
        run: the facts known at the start, see :func:`describe_run`.
        resumed_at: step that the run resumes from; 0 starts a new report.
        breaks: settings that changed during the run, see :class:`verl_egrsd.checkpoints.resume.Start`.
        goes_on: whether the steps in the folder belong to this run.
    """

    def __init__(
        self,
        config: ReportConfig,
        run: Mapping[str, Any],
        resumed_at: int,
        breaks: Sequence[Mapping[str, Any]] = (),
        *,
        goes_on: bool = True,
    ) -> None:
        self.config, self.resumed_at = config, resumed_at
        self.run = {**run, "breaks": [*breaks]}
        self.folder = Path(config.folder)
        self.history = History(self.folder / STEPS_FILE, resumed_at if goes_on else 0)
        if not self.history.steps:
            # A picture would be that of another run.
            (self.folder / PNG_FILE).unlink(missing_ok=True)
        self.drawn_to, self.drawn_at, self.drawing_takes = 0, time.monotonic(), DRAWING_SECONDS
        self.write(ending("running"))

    def record(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of a step, print its lines, and write the report."""
        self.history.record(step, metrics)
        print(step_lines(self.run, self.history.steps, step, self.config.thresholds.window), flush=True)
        validated = any(name.startswith("val-") for name in metrics)
        if validated or self.drawing_takes < DRAWING_SHARE * (time.monotonic() - self.drawn_at):
            self.draw()
        self.write(ending("running"))

    def end(self, ended: Ending) -> None:
        """Write how the run ended, with curves up to its last step."""
        if self.drawn_to < max(self.history.steps, default=0):
            self.draw()
        self.write(ended)

    def draw(self) -> None:
        """Draw the curves as a picture."""
        started = time.monotonic()
        figure = draw_curves(self.history.steps, self.run["breaks"])
        write_completed(self.folder / PNG_FILE, render(figure, "png"))
        self.drawn_to = max(self.history.steps, default=0)
        self.drawn_at = time.monotonic()
        self.drawing_takes = self.drawn_at - started

    def write(self, ended: Ending) -> None:
        """Write report.json and report.html; each replaces its predecessor atomically."""
        report = facts(self.run, self.history.steps, self.config.thresholds) | {"ending": ended}
        _write(self.folder, report)


def report_mark(folder: Path) -> ReportMark:
    """Return what tells a folder's report from a later one, however the clock is set; None without one."""
    path = folder / JSON_FILE
    if not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def note_ending(folder: Path, ended: Ending, *, since: ReportMark) -> None:
    """Write into the report of a run how its trainer's process ended, when that process could not.

    Args:
        folder: folder of the report.
        ended: the ending.
        since: mark of the report before the run, which belongs to another run.
    """
    report = report_since(folder, since)
    if report is None or report["ending"]["how"] != "running":
        return
    _write(folder, report | {"ending": ended})


def report_since(folder: Path, since: ReportMark) -> dict[str, Any] | None:
    """Return the report of the run before which it had this mark; None where there is none yet."""
    if report_mark(folder) == since:
        return None
    report: dict[str, Any] = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
    return report


def describe_run(
    settings: Mapping[str, Any],
    total_steps: int,
    data: Mapping[str, Sequence[str | Path]],
    validated: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the facts of a run that are known at its start.

    Args:
        settings: the whole resolved configuration.
        total_steps: planned number of training steps.
        data: local parquet files by split.
        validated: number of the problems of each data source that validations answer.
    """
    engine = settings.get("actor_rollout_ref", {}).get("rollout", {}).get("name")
    packages = (*_PACKAGES, engine) if engine in ("vllm", "sglang") else _PACKAGES
    return {
        "name": settings["trainer"]["experiment_name"],
        "date": date.today().isoformat(),
        "total_steps": total_steps,
        "versions": {"python": python_version(), **{name: version(name) for name in packages}},
        "data": {split: [_file(Path(path)) for path in paths] for split, paths in data.items()},
        "validated": dict(validated or {}),
        "settings": redacted(settings),
    }


def _file(path: Path) -> dict[str, Any]:
    return {"file": str(path), "bytes": path.stat().st_size, "sha256": file_digest(path)}


def _write(folder: Path, report: Mapping[str, Any]) -> None:
    # The message of an error may hold what the settings do not show. The curves are numbers, and many.
    texts = {key: value for key, value in report.items() if key != "curves"}
    texts = redacted(texts, secrets_of_environment())
    write_completed(folder / JSON_FILE, _as_json(texts, report["curves"]))
    write_completed(folder / HTML_FILE, report_page(texts | {"curves": report["curves"]}))


def _as_json(texts: Mapping[str, Any], curves: Mapping[str, Any]) -> str:
    """Return the report with a line for each curve: Python writes indented lists ten times more slowly."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(curve)}" for name, curve in curves.items())
    head = json.dumps(texts, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "curves": {{\n{lines}\n }}\n}}'
