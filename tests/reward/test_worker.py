"""A worker of the verifier keeps its limits, whatever the comparison does."""

import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

import pytest

from verl_egrsd.reward.worker import MEMORY_LIMIT

pytestmark = pytest.mark.stack

WORKER = """
import sys
from verl_egrsd.reward import worker

compare = worker.equivalent

def greedy(answer, truth, problem=None):
    if answer == "eat":
        return str(len(bytes(2 * worker.MEMORY_LIMIT)))
    while answer == "compute":
        pass
    return compare(answer, truth, problem)

worker.equivalent = greedy
worker.main(int(sys.argv[1]))
"""
LONG = 120
"""Seconds for a start on a busy machine."""


@pytest.fixture
def worker():
    """A worker whose comparison takes too much memory for one answer, and computes for ever for another."""
    ours, theirs = Pipe()
    with theirs:
        command = [sys.executable, "-c", WORKER, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    assert ours.poll(LONG)
    assert ours.recv() == "ready"
    yield ours, process
    ours.close()
    process.kill()
    process.wait()


def test_an_answer_that_takes_too_much_memory_is_an_error_and_the_next_one_is_judged(worker):
    pipe, process = worker
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert f"Max address space         {MEMORY_LIMIT}" in limits
    for answer, verdict in (("eat", ("error", "MemoryError()")), ("5", ("correct", ""))):
        pipe.send(((answer, "5", None), LONG))
        assert pipe.poll(LONG)
        assert pipe.recv()[:2] == verdict


def test_an_answer_that_computes_for_ever_ends_the_worker_by_itself(worker):
    pipe, process = worker
    pipe.send((("compute", "5", None), 1.0))
    assert process.wait(LONG) < 0
