"""The miniature, killed at three random moments: the next call goes on; nothing is lost or there twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults.run import REPOSITORY, WatchedRun, started
from verl_egrsd.evaluation.samples import read_samples
from verl_egrsd.report.history import read_steps, training_steps

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(5400)]

COMMAND = """
import sys
from recipes.miniature import measurement, run
from recipes.rehearsal import build
measurement.BUILD = build.BuildSettings(roles="miniature", steps=2, train_rows=64, validation_rows=8)
measurement.TRAINING["OMP_NUM_THREADS"] = "1"
build.MEASURED_ROWS = 8
run.QUICK = measurement.Plan(seeds=(0, 1), steps=1, problems=8)
sys.exit(run.main(sys.argv[1:]))
"""
"""The command with a model that is hardly trained, two runs of one update, and eight problems."""
PROBLEMS, RUNS = 8, ("cl_egrsd-0", "cl_egrsd-1")
LONG, SHORT = 1500.0, 60.0
"""Seconds for a start on busy cores, and for the end of all processes."""
KILLS = [
    (signal.SIGKILL, "logs/train-cl_egrsd-0.log", 30.0),
    (signal.SIGTERM, "runs/cl_egrsd-0/report.jsonl", 10.0),
    (signal.SIGKILL, "evaluations/*/settings.json", 30.0),
]
"""The signal; a file that is there by then; the longest time from that file to the signal, in seconds."""


@pytest.fixture
def start(tmp_path):
    """Start the command; whatever it started has ended after the test."""
    runs: list[WatchedRun] = []
    arguments = ["--quick", "--arms", "untrained", "cl_egrsd", "--out", "out"]
    script = tmp_path / "miniature.py"
    script.write_text(COMMAND)

    def begin() -> WatchedRun:
        log = tmp_path / f"run{len(runs)}.log"
        environment = {
            "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}",
            "HF_HUB_OFFLINE": "1",
        }
        words = ["env", "-C", str(tmp_path), sys.executable, str(script), *arguments]
        runs.append(WatchedRun(started(words, log, environment), log))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def done(out: Path) -> dict[Path, int]:
    """When the files were written whose piece of work is done: nothing may write them again."""
    trained = [out / "runs" / run for run in RUNS]
    checkpoints = [run for run in trained if (run / "latest_checkpointed_iteration.txt").exists()]
    files = [
        *out.glob("evaluations/*/summary.json"),
        *out.glob("kept/*.json"),
        *(run / "global_step_1/egrsd.json" for run in checkpoints),
    ]
    return {path: path.stat().st_mtime_ns for path in files}


def drawn(out: Path) -> dict[Path, bytes]:
    """The samples so far, without a line that is cut off."""
    found = {path: path.read_bytes() for path in out.glob("evaluations/*/samples.jsonl")}
    return {path: content[: content.rfind(b"\n") + 1] for path, content in found.items()}


def require_kept(out: Path, before: dict[Path, int], samples: dict[Path, bytes]) -> None:
    """What was done is as it was, and the samples are still the first ones of their files."""
    assert before.items() <= done(out).items()
    assert all(path.read_bytes().startswith(lines) for path, lines in samples.items())


def test_killed_at_random_moments_the_miniature_ends_with_all_results_once(start, tmp_path, measured):
    out, draw = tmp_path / "out", random.Random(0)
    for number, milestone, longest in KILLS:
        run = start()
        run.wait_until(lambda name=milestone: any(out.glob(name)), LONG, milestone)
        time.sleep(draw.uniform(0, longest))
        before, samples = done(out), drawn(out)
        with measured(f"the miniature: {number.name}", "every process ends; what was done stays"):
            os.kill(run.driver.pid, number)
            run.driver.wait(SHORT)
            run.wait_for_all(SHORT)
        assert run.segments_left() == []
        require_kept(out, before, samples)
    last = start()
    assert last.driver.wait(LONG) == 0, last.last_lines(20)

    require_kept(out, before, samples)
    for run in RUNS:
        assert len(training_steps(read_steps(out / "runs" / run / "report.jsonl"))) == 1
    for name, answers in (("untrained-x2", 2), *((run, 1) for run in RUNS)):
        keys = [sample.key for sample in read_samples(out / "evaluations" / name / "samples.jsonl")]
        assert len(keys) == len(set(keys)) == answers * PROBLEMS
    numbers = json.loads((out / "results.json").read_text())
    assert {name: len(found["seeds"]) for name, found in numbers.items()} == {"untrained": 1, "cl_egrsd": 2}
    assert "2 arms, 2 seeds, 1 updates" in (out / "index.md").read_text()
