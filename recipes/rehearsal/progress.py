"""`python recipes/rehearsal/progress.py RUN`: one line per step on the terminal while a rehearsal trains.

It reads the report that the run writes, until it gets SIGTERM or the recipe that started it has ended. It
uses the standard library alone: the cores belong to the training.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

VALIDATION = "val-core/"
EVERY = 0.5
"""Seconds between two looks at the report."""
SIGN_OF_LIFE = 20.0
"""Seconds of silence, before the first step, after which a line says that the run is still starting."""


def step_line(step: int, metrics: Mapping[str, float], total: int | None) -> str:
    """Return the line of a step: reward, answers, length, gate, and accuracy where the step validated."""
    validated = [100 * value for name, value in metrics.items() if name.startswith(VALIDATION)]
    parts = [f"{value:.0f} % of the validation problems correct" for value in validated[:1]]
    for name, form in {
        "egrsd/correct": "{:.0%} of the answers correct",
        "egrsd/response_length/mean": "{:.0f} tokens an answer",
        "egrsd/entropy_gate/mean": "entropy gate {:.2f}",
        "timing_s/step": "{:.1f} s",
    }.items():
        if name in metrics:
            parts.append(form.format(metrics[name]))
    place = f"step {step:2}" + (f" of {total}" if total else "") if step else "before training"
    return f"  {place}: {', '.join(parts)}"


class Follower:
    """Reads what the run has added since the last look.

    Args:
        run: folder of the run, with report.json and report.jsonl.
    """

    def __init__(self, run: Path) -> None:
        self.report, self.steps, self.read = run / "report.json", run / "report.jsonl", 0

    def new_lines(self) -> Iterator[str]:
        """Yield a line for each whole entry that is new."""
        if not self.steps.exists():
            return
        *entries, _ = self.steps.read_text(encoding="utf-8").split("\n")
        for entry in entries[self.read :]:
            found = json.loads(entry)
            yield step_line(found["step"], found["data"], self._total())
        self.read = len(entries)

    def _total(self) -> int | None:
        if not self.report.exists():
            return None
        report: dict[str, Any] = json.loads(self.report.read_text(encoding="utf-8"))
        return report["total_steps"]


def follow(run: Path, goes_on: Callable[[], bool]) -> None:
    """Print the lines of a run while it goes on, and those that are left at its end."""
    follower, begun, said = Follower(run), time.monotonic(), time.monotonic()
    while True:
        going = goes_on()
        for line in follower.new_lines():
            print(line, file=sys.stderr, flush=True)
            said = time.monotonic()
        if not going:
            return
        if not follower.read and time.monotonic() - said >= SIGN_OF_LIFE:
            said = time.monotonic()
            print(f"  {said - begun:.0f} s: still starting", file=sys.stderr, flush=True)
        time.sleep(EVERY)


def main() -> None:
    """Follow the run that the command line names."""
    parent, told = os.getppid(), []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    follow(Path(sys.argv[1]), lambda: not told and os.getppid() == parent)


if __name__ == "__main__":
    main()
