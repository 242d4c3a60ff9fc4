"""The thread that interrupts the main one: by the clock, by a dead process, and never without a reason."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from verl_egrsd.watch.settings import PHASES, WatchdogConfig, watchdog_settings
from verl_egrsd.watch.watchdog import Watchdog

FOREVER = 60.0


def watchdog(dead=lambda: None, **limits):
    return Watchdog(WatchdogConfig(every=0.02, **limits), dead, last_resort=lambda cause: None)


def test_a_phase_over_its_deadline_is_interrupted_and_named_with_its_limit_and_key():
    watched = watchdog(sync=0.1)
    with pytest.raises(KeyboardInterrupt), watched.guard(), watched.during("sync"):
        time.sleep(FOREVER)
    assert watched.cause == "the weight sync took longer than its limit of 0.1 s (watchdog.sync)"


def test_a_dead_process_interrupts_whatever_the_phase():
    watched = watchdog(iter([None, None, "reward worker 0 died"]).__next__)
    with pytest.raises(KeyboardInterrupt), watched.guard():
        time.sleep(FOREVER)
    assert watched.cause == "reward worker 0 died"


def test_a_phase_begins_its_deadline_anew_and_none_follows_it(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("verl_egrsd.watch.watchdog.time.monotonic", lambda: clock[0])
    watched = watchdog(scoring=5, update=5)
    for phase in ("scoring", "update", "scoring"):
        with watched.during(phase):
            clock[0] += 4
            assert watched.overdue() is None
    clock[0] += 60
    assert watched.overdue() is None


def test_an_error_leaves_the_name_of_the_phase_that_it_came_from():
    watched = watchdog()
    with pytest.raises(ValueError, match="bad"), watched.during("validation"), watched.during("generation"):
        raise ValueError("bad")
    assert watched.phase == "generation"


STUCK = """
import signal, time
from verl_egrsd.watch import watchdog
from verl_egrsd.watch.settings import WatchdogConfig
watchdog.REACT_SECONDS = 0.2
tell = lambda cause: print("LAST", cause, flush=True)
dog = watchdog.Watchdog(WatchdogConfig(every=0.05, save=0.1), lambda: None, tell)
with dog.guard(), dog.during("save"):
    signal.signal(watchdog.SIGNAL, signal.SIG_IGN)
    time.sleep(60)
"""


def test_a_main_thread_that_does_not_react_ends_with_its_process_after_the_cause_was_told():
    run = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout.split(" took")[0]) == (1, "LAST the saving of the checkpoint"), (
        run.stderr
    )


def test_every_phase_has_a_deadline_that_can_be_set():
    assert watchdog_settings(dict.fromkeys(PHASES, 7)) == WatchdogConfig(**dict.fromkeys(PHASES, 7))
    assert watchdog_settings({"start": None}) == WatchdogConfig() == watchdog_settings(None)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"sync": 0}, "watchdog.sync=0 is not allowed: it must be positive, in seconds"),
        ({"every": "often"}, "watchdog.every='often' is not allowed"),
        ({"stop": -1}, "watchdog.stop=-1 is not allowed: it must be 0 or more"),
        ({"syncs": 5}, "unknown key watchdog.syncs=5; known keys: start, generation"),
    ],
)
def test_a_deadline_out_of_range_is_refused_by_name(values, complaint):
    with pytest.raises(ValueError, match=complaint.replace(".", r"\.")):
        watchdog_settings(values)
