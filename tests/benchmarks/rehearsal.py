"""Seconds of `bash recipes/rehearse_cpu.sh`: in a fresh clone, and again where all is in place.

    python -m tests.benchmarks.rehearsal > tests/benchmarks/results/rehearsal.md

Run it from a commit on an idle machine, with the packages of the lock in pip's cache; it takes a quarter of
an hour. The first run makes `.venv` and the model, the second finds them.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recipes.rehearsal.report import TIMES
from tests.benchmarks.conditions import conditions_of_stack
from verl_egrsd.output.tables import text_table
from verl_egrsd.report.history import read_steps, training_steps

ROOT = Path(__file__).parents[2]
RUNS = {"fresh clone, nothing installed": 480, "`.venv` and model present": 240}
"""Each run and the seconds that it may take."""
STEP_BESIDES_GENERATION = 1.5


def rehearse(clone: Path, name: str) -> tuple[float, dict[str, float], list[dict[str, float]]]:
    """Run the recipe; return its seconds, those of its parts, and the metrics of each training step."""
    start = time.perf_counter()
    environment = os.environ | {"RUN_NAME": name}
    done = subprocess.run(
        ["bash", "recipes/rehearse_cpu.sh"],
        cwd=clone,
        env=environment,
        check=True,
        timeout=1800,
        capture_output=True,
        text=True,
    )
    total = time.perf_counter() - start
    parts = re.search(r"^seconds: (.*)$", done.stdout, re.MULTILINE)
    assert parts, done.stdout
    seconds = {key: float(value) for key, value in (item.split() for item in parts[1].split(", "))}
    steps = read_steps(clone / "outputs" / name / "report.jsonl")
    print(done.stdout, file=sys.stderr)
    return total, seconds, training_steps(steps)


def main() -> None:
    """Measure and print the page."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        commit = subprocess.check_output(["git", "-C", str(clone), "rev-parse", "--short", "HEAD"], text=True)
        measured = [rehearse(clone, f"run{number}") for number in range(len(RUNS))]
    print("# The rehearsal on CPU: seconds\n")
    parts = ("install", "build", "train")
    rows = [
        (name, *(f"{seconds[part]:.0f}" for part in parts), f"{total:.0f}", str(limit))
        for (name, limit), (total, seconds, _) in zip(RUNS.items(), measured, strict=True)
    ]
    print(text_table(("run", *parts, "whole command", "at most"), rows))
    print("\nA step: medians over the steps after the first. `adv` contains `teacher`.\n")
    medians = {
        phase: [statistics.median(step[f"timing_s/{phase}"] for step in run[1:]) for *_, run in measured]
        for phase in TIMES
    }
    medians[f"besides generation (at most {STEP_BESIDES_GENERATION})"] = [
        statistics.median(step["timing_s/step"] - step["timing_s/gen"] for step in run[1:])
        for *_, run in measured
    ]
    rows = [(phase, *(f"{median:.2f}" for median in found)) for phase, found in medians.items()]
    print(text_table(("phase", *RUNS), rows))
    print(f"\n{conditions_of_stack(load)}")
    print(f"- commit {commit.strip()}; the packages were in pip's cache")
    print("- `python -m tests.benchmarks.rehearsal > tests/benchmarks/results/rehearsal.md`")


if __name__ == "__main__":
    main()
