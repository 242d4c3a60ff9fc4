"""A run's report, killed at random moments and resumed: its files are whole, and each step is there once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_docs import ROOT
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import HTML_FILE, JSON_FILE, STEPS_FILE

WRITER = """
import sys
from verl_egrsd.report.run import RunReport, describe_run
from verl_egrsd.report.settings import ReportConfig
folder, resumed_at, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
settings = {"algorithm": {"egrsd": {"factors": ["ratio"]}}, "actor_rollout_ref": {"rollout": {"name": "x"}}}
run = describe_run(settings | {"trainer": {"experiment_name": "killed"}}, 4, {}, {})
report = RunReport(ReportConfig(folder), run, resumed_at)
for step in range(resumed_at + 1, last + 1):
    report.record(step, {"training/global_step": step, "egrsd/correct": 1 / step, "egrsd/truncated": 0.0})
"""
LIMIT = 240
"""Seconds for a process."""
EVERY = 5
"""A run resumes from a checkpoint, which is written after so many steps."""


@pytest.fixture
def write(tmp_path):
    """Start a process that writes the report of a run; it has ended after the test."""
    begun = []

    def start(resumed_at: int, last: int = 10**6) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(resumed_at), str(last)]
        begun.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()


def steps_of(folder: Path) -> list[int]:
    """The steps in the file, one for each line, without a last line that is cut off."""
    text = (folder / STEPS_FILE).read_text()
    return [json.loads(line)["step"] for line in text[: text.rfind("\n") + 1].splitlines()]


@pytest.mark.faults
@pytest.mark.timeout(8 * LIMIT)
def test_killed_at_random_moments_the_report_is_whole_and_a_resume_has_each_step(tmp_path, write, measured):
    draw, resumed_at = random.Random(0), 0
    for number in (signal.SIGKILL, signal.SIGTERM) * 3:
        process = write(resumed_at)
        deadline = time.monotonic() + LIMIT
        while not (tmp_path / STEPS_FILE).exists() or max(steps_of(tmp_path), default=0) <= resumed_at:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1))
        with measured(f"the report of a run: {number.name}", "its files are whole"):
            process.send_signal(number)
            process.wait(15)
        found = steps_of(tmp_path)
        assert found == list(range(1, len(found) + 1))
        assert json.loads((tmp_path / JSON_FILE).read_text())["steps"] in (len(found), len(found) - 1)
        assert (tmp_path / HTML_FILE).read_text().rstrip().endswith("</html>")
        resumed_at = len(found) // EVERY * EVERY
    assert write(resumed_at, resumed_at + EVERY).wait(LIMIT) == 0
    assert steps_of(tmp_path) == list(range(1, resumed_at + EVERY + 1))
    assert len(training_steps(read_steps(tmp_path / STEPS_FILE))) == resumed_at + EVERY
    assert not list(tmp_path.glob("*.partial"))
