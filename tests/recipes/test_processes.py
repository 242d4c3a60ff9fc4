"""Jobs: how many run at once, and how the others end when one fails."""

from __future__ import annotations

import sys
import time

import psutil
import pytest
from tqdm import tqdm

from recipes.processes import Job, run_jobs


@pytest.fixture
def no_process_is_left():
    """Fail when the test leaves a child behind."""
    before = psutil.Process().children()
    yield
    assert set(psutil.Process().children()) <= set(before)


@pytest.fixture
def run(tmp_path, no_process_is_left):
    """Run programs of Python, two at once, and count the files that they leave in a folder."""

    def started(*programs, time_limit=60.0, at_once=2):
        jobs = [
            Job([sys.executable, "-c", text], tmp_path / "logs" / f"{i}.log")
            for i, text in enumerate(programs)
        ]
        with tqdm(total=len(programs), disable=True) as bar:
            run_jobs(
                jobs,
                at_once=at_once,
                environment={"FOLDER": str(tmp_path)},
                time_limit=time_limit,
                done=lambda: len(list(tmp_path.glob("*.done"))),
                bar=bar,
            )
        return bar

    return started


TOUCH = "import os, pathlib; pathlib.Path(os.environ['FOLDER'], '{}.done').touch()"


def test_every_job_runs_with_the_environment_and_leaves_its_log(run, tmp_path):
    run(*(f"print('job {i}'); {TOUCH.format(i)}" for i in range(3)))
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == ["0", "1", "2"]
    assert (tmp_path / "logs" / "1.log").read_text() == "job 1\n"


def test_no_more_jobs_than_allowed_run_at_once(run, tmp_path):
    alone = (
        "import os, pathlib, time; p = pathlib.Path(os.environ['FOLDER'], 'busy'); p.touch(exist_ok=False);"
        "time.sleep(0.3); p.unlink()"
    )
    run(*[alone] * 3, at_once=1)


def test_a_job_that_fails_ends_the_others_and_shows_the_end_of_its_log(run):
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=r"exit code 3(?s:.)*the reason"):
        run("import time; time.sleep(60)", "print('the reason'); raise SystemExit(3)")
    assert time.monotonic() - begin < 30


def test_a_job_that_hangs_is_ended(run):
    with pytest.raises(TimeoutError, match=r"took over 1 s"):
        run("import time; time.sleep(60)", time_limit=1.0)
