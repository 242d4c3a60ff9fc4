"""A run that is killed leaves no process, whatever its processes wait for."""

import os
import signal
import subprocess
import sys
import threading
import uuid

import psutil
import pytest

from verl_egrsd.watch import reaper, shared_memory

LONG = 60
SLEEPS = [sys.executable, "-c", "import time; time.sleep(1000)"]
STARTS = "import subprocess, sys, time; started = subprocess.Popen({command}, start_new_session=True); "
STARTS += "print(started.pid, flush=True); time.sleep(1000)"
RAYLET = [sys.executable, "-c", STARTS.format(command=SLEEPS)]
OWNER = """
import subprocess, time
from verl_egrsd.watch.reaper import start_reaper
print(start_reaper(grace=0.1).pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def run():
    """A process, one that it has started, and one that this one has, with another parent later."""
    owner = psutil.Popen(RAYLET, stdout=subprocess.PIPE, text=True)
    agent = psutil.Process(int(owner.stdout.readline()))
    yield owner, agent
    for process in (owner, agent):
        if process.is_running():
            process.kill()
    owner.wait(LONG)


@pytest.fixture
def segments(monkeypatch):
    """Two segments of weight syncs, with names that no other test takes."""
    monkeypatch.setattr(shared_memory, "OF_SYNCS", f"verl_weights_{uuid.uuid4().hex}")
    found = [shared_memory.FOLDER / f"{shared_memory.OF_SYNCS}_{name}" for name in ("earlier", "later")]
    yield found
    for path in found:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_run_has_started_ends_and_nothing_else(run, segments, monkeypatch, number):
    owner, agent = run
    earlier, later = segments
    earlier.touch()
    looked, below = threading.Event(), reaper._below

    def look(processes):
        found = below(processes)
        looked.set()
        return found

    monkeypatch.setattr(reaper, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(reaper, "_below", look)
    with psutil.Popen(SLEEPS) as stranger:
        thread = threading.Thread(target=reaper.reap, args=(psutil.Process(owner.pid), 0.1), daemon=True)
        thread.start()
        assert looked.wait(LONG)
        assert agent.is_running(), "nothing ends while the run goes on"
        later.touch()
        owner.send_signal(number)
        owner.wait(LONG)
        thread.join(LONG)
        psutil.wait_procs([agent], timeout=LONG)
        assert not agent.is_running()
        assert stranger.is_running()
        assert earlier.exists()
        assert not later.exists()
        stranger.kill()


def test_the_reaper_has_a_session_of_its_own_and_ends_with_the_run():
    owner = psutil.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    process = psutil.Process(int(owner.stdout.readline()))
    assert os.getsid(process.pid) == process.pid
    owner.kill()
    owner.wait(LONG)
    psutil.wait_procs([process], timeout=LONG)
    assert not process.is_running()
