"""Run commands, a few at a time, with one progress bar for the results that they write to the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from verl_egrsd.processes import end_with_parent

POLL_SECONDS = 0.5
LAST_LINES = 25


class Job(NamedTuple):
    """A command and the file that takes its output."""

    command: list[str]
    log: Path


def run_jobs(
    jobs: Sequence[Job],
    *,
    at_once: int,
    environment: Mapping[str, str],
    time_limit: float,
    done: Callable[[], int],
    bar: tqdm,
) -> None:
    """Run all jobs; when one fails, or takes longer than `time_limit` seconds, end those that still run.

    Args:
        jobs: what to run, in this order.
        at_once: number of processes.
        environment: variables on top of those of this process.
        time_limit: of each job, in seconds.
        done: counts the units of work that are done.
        bar: shows them.

    Raises:
        RuntimeError: for a job that failed, with the end of its log.
        TimeoutError: for a job that took too long.
    """
    waiting, running = list(jobs), dict[subprocess.Popen, tuple[Job, float]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[_start(job, environment)] = job, time.monotonic() + time_limit
            time.sleep(POLL_SECONDS)
            bar.update(done() - bar.n)
            for process, (job, deadline) in list(running.items()):
                if process.poll() is not None:
                    del running[process]
                    _require_success(process, job)
                elif time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{' '.join(job.command)} took over {time_limit:.0f} s: see {job.log}."
                    )
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _start(job: Job, environment: Mapping[str, str]) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a") as log:  # what an earlier attempt said stays
        return subprocess.Popen(
            job.command,
            env=os.environ | dict(environment),
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),
        )


def _require_success(process: subprocess.Popen, job: Job) -> None:
    if process.returncode:
        tail = "\n".join(job.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        command, code = " ".join(job.command), process.returncode
        raise RuntimeError(f"{command} ended with exit code {code}. The end of {job.log}:\n{tail}")
