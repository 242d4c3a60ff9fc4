"""A run that is killed leaves no process, whatever its processes wait for."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

LONG = 60
OWNER = """
import subprocess, sys, time
from verl_egrsd.watch.reaper import start_reaper
other = subprocess.Popen(["sleep", "1000"])
start_reaper("REAPED_WITH", grace=0.2)
agent = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print(other.pid, agent.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def run():
    """A process with a child from before the reaper and one from after it; the reaper, and both children."""
    owner = psutil.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    other, agent = map(psutil.Process, map(int, owner.stdout.readline().split()))
    (reaper,) = [child for child in owner.children() if child not in (other, agent)]
    yield owner, reaper, other, agent
    for process in (owner, other, agent, reaper):
        if process.is_running():
            process.kill()
    owner.wait(LONG)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_run_has_started_ends_and_nothing_else(run, number):
    owner, reaper, other, agent = run
    owner.send_signal(number)
    owner.wait(LONG)
    psutil.wait_procs([agent, reaper], timeout=LONG)
    assert not agent.is_running()
    assert not reaper.is_running()
    assert other.is_running()


def test_nothing_ends_while_the_run_goes_on_and_ctrl_c_in_its_terminal_does_not_reach_the_reaper(run):
    _, reaper, _, agent = run
    time.sleep(1)
    assert agent.is_running()
    assert os.getsid(reaper.pid) == reaper.pid
