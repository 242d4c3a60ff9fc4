"""Runs on one machine whose Ray jobs have one id: each engine gets the weights of its own run."""

import fcntl
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from tests.support.two_syncs import ROLLOUT
from verl_egrsd.trainer import weight_sync
from verl_egrsd.trainer.weight_sync import SyncsAlone, alone_on_this_machine

ROUNDS = 40

HOLD = """
import sys
from pathlib import Path
from verl_egrsd.trainer import weight_sync
weight_sync.SOCKETS = Path(sys.argv[1])
with weight_sync.alone_on_this_machine("01000000"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_sync, "SOCKETS", tmp_path)


@pytest.mark.stack
def test_a_sync_waits_for_that_of_another_process_and_says_so(tmp_path, capsys):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        done = threading.Event()

        def sync():
            with alone_on_this_machine("01000000"):
                done.set()

        thread = threading.Thread(target=sync)
        thread.start()
        assert not done.wait(0.5)
        other.kill()  # a process that is killed holds nothing
        thread.join(60)
    assert done.is_set()
    assert capsys.readouterr().out.startswith("verl_egrsd: waiting for the weight sync of another run")


def test_jobs_with_other_ids_do_not_wait():
    with alone_on_this_machine("01000000"), alone_on_this_machine("02000000"):
        pass


def test_a_link_in_place_of_the_lock_is_refused(tmp_path):
    with alone_on_this_machine("01000000"):
        pass
    (lock,) = tmp_path.iterdir()
    lock.rename(tmp_path / "elsewhere")
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="sync-01000000"), alone_on_this_machine("01000000"):
        pass


def is_locked(folder):
    """Whether another open file holds a lock of the folder."""
    for path in folder.iterdir():
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


@pytest.mark.parametrize(("engine", "locks"), [("vllm", True), ("scripted", False)])
def test_both_syncs_of_a_run_with_vllm_hold_the_lock(engine, locks, tmp_path, monkeypatch):
    held = []

    class Synced:
        def on_init_end(self):
            held.append(("start", is_locked(tmp_path)))

        def on_step_end(self):
            held.append(("step", is_locked(tmp_path)))

    context = SimpleNamespace(get_job_id=lambda: "01000000")
    monkeypatch.setattr(weight_sync.ray, "get_runtime_context", lambda: context)
    trainer = type("Run", (SyncsAlone, Synced), {})()
    rollout = SimpleNamespace(name=engine)
    trainer.config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))
    trainer.on_init_end()
    trainer.on_step_end()
    assert held == [("start", locks), ("step", locks)]
    assert not is_locked(tmp_path)


def test_verl_names_its_socket_after_the_job_and_the_rank_only():
    """Where verl gives it a name of the run, the lock is not needed any more."""
    name = "ipc:///tmp/rl-colocate-zmq-{job_id}-replica-{"
    assert name in (ROLLOUT / "vllm_rollout.py").read_text()
    assert name in (ROLLOUT / "utils.py").read_text()


@pytest.mark.stack
def test_two_runs_that_sync_at_the_same_moment_get_their_own_weights(tmp_path):
    """verl's sender and receiver; without the lock they mix the two runs or hang."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.two_syncs", str(tmp_path), str(ROUNDS)],
        env=os.environ | {"VERL_PLATFORM": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout.split()[-2:] == [str(ROUNDS)] * 2, done.stdout + done.stderr[-3000:]
