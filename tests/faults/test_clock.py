"""A clock that is set while something runs changes no duration: durations come from a monotonic clock."""

import ast
import asyncio
import itertools
import sys
import time
from contextlib import suppress

import pytest
from tqdm import tqdm

from recipes.processes import Job, run_jobs
from tests.test_docs import ROOT
from verl_egrsd.reward.acceptance import ScoreChecks
from verl_egrsd.reward.guard import Guard
from verl_egrsd.watch.settings import WatchdogConfig
from verl_egrsd.watch.watchdog import Watchdog

FOLDERS = ("verl_egrsd", "data_prep", "recipes")
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
ALLOWED = {
    # Times that people read, not differences of them.
    "verl_egrsd/report/ending.py": "datetime.now",
    # When an attempt began: one that is killed lasted until its log was last written.
    "recipes/reproduce/spent.py": "time.time",
    # The same template rendered on two days.
    "verl_egrsd/teacher/context.py": "datetime.now",
}


def clocks(source):
    """Calls that read the clock of the day."""
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {call for call in calls if call.endswith(("time.time", "datetime.now", "time.time_ns"))}


def test_no_module_takes_a_duration_from_the_clock_of_the_day():
    found = {str(path.relative_to(ROOT)): clocks(path.read_text()) for path in MODULES}
    assert {(path, call) for path, calls in found.items() for call in calls} == {*ALLOWED.items()}


@pytest.mark.parametrize("code", ["time.time() - began", "end = datetime.datetime.now()"])
def test_a_clock_of_the_day_is_seen(code):
    assert clocks(code)


LIMIT = 600.0
"""Seconds; what it limits takes a moment."""


@pytest.fixture(params=[3600, -3600], ids=["forth", "back"])
def jumping(request, monkeypatch):
    """A clock of the day that is set by an hour each time it is read."""
    now, jumps = time.time(), itertools.count(step=request.param)
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))


@pytest.mark.usefixtures("jumping")
def test_no_phase_is_overdue_when_the_clock_jumps():
    watchdog = Watchdog(WatchdogConfig(every=0.01, generation=LIMIT), lambda: None, pytest.fail)
    with suppress(KeyboardInterrupt), watchdog.guard(), watchdog.during("generation"):
        time.sleep(0.2)
    assert watchdog.cause is None


@pytest.mark.usefixtures("jumping")
def test_no_job_takes_too_long_when_the_clock_jumps(tmp_path):
    jobs, bar = [Job([sys.executable, "-c", "print('done')"], tmp_path / "log")], tqdm(total=1, disable=True)
    run_jobs(jobs, at_once=1, environment={}, time_limit=LIMIT, done=lambda: 1, bar=bar)
    assert jobs[0].log.read_text() == "done\n"


@pytest.mark.usefixtures("jumping")
def test_no_score_takes_too_long_when_the_clock_jumps():
    guard = Guard(lambda **row: 1.0, ScoreChecks(time_limit=LIMIT))
    assert asyncio.run(guard(data_source="sums", solution_str="1", ground_truth="1"))["score"] == 1.0
