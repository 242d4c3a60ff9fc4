"""The process that starts a run: passes signals on, and says last how the run ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple

import ray
from omegaconf import DictConfig
from ray.exceptions import RayActorError
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

from verl_egrsd.cpu import ENDS_WITH
from verl_egrsd.preflight import plain, report_settings
from verl_egrsd.processes import KILLED, SAME_SECONDS
from verl_egrsd.report.ending import How, RunEndedError, RunStoppedError, ending
from verl_egrsd.report.run import HTML_FILE, ReportMark, note_ending, report_mark, report_since
from verl_egrsd.watch.asking import ask_to_stop
from verl_egrsd.watch.closing import closing_lines
from verl_egrsd.watch.reaper import start_reaper
from verl_egrsd.watch.settings import watchdog_settings
from verl_egrsd.watch.shared_memory import sync_segments, unlink_abandoned_syncs
from verl_egrsd.watch.words import last_line

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHUTDOWN_SECONDS = 20
"""Time for Ray to end its processes; they end by themselves when this one is gone."""


class Before(NamedTuple):
    """What was there before a run, of others: the mark of a report, and segments of weight syncs."""

    report: ReportMark
    syncs: set[Path]


def run_watched(config: DictConfig) -> None:
    """Train with verl. Unless the run reaches its end, ends this process with the last line of the run."""
    stop = Stop(watchdog_settings(plain(config.get("watchdog"))).stop)
    folder = Path(report_settings(config).folder)
    before = Before(report_mark(folder), sync_segments())
    os.environ[ENDS_WITH] = str(os.getpid())
    reaper = start_reaper()
    stop.listen()
    try:
        run_ppo(config, task_runner_class=Runner(stop))
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        traceback.print_exc()
        stop.heard(error)
        how, line = _told(error, stop, config, report_since(folder, before.report))
        _end(how, line, stop, folder, before)
    else:
        print(closing_lines(config), flush=True)
        reaper.terminate()  # a logger may still upload
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end(how: How, line: str, stop: Stop, folder: Path, before: Before) -> None:
    """End Ray's processes, then note the ending: until then the trainer may write another step."""

    def note() -> None:
        unlink_abandoned_syncs(before.syncs)
        try:
            note_ending(folder, ending(how, line), since=before.report)
        except OSError as error:  # such as a full disk, which may be what ended the run
            print(f"verl_egrsd: the report does not say how the run ended: {error}", file=sys.stderr)
        if (folder / HTML_FILE).exists():
            print(f"verl_egrsd: the report is {folder / HTML_FILE}", file=sys.stderr)
        sys.stdout.flush()  # or what Ray has printed there may follow the last line, in a file for both
        print(f"verl_egrsd: {line}", file=sys.stderr, flush=True)

    def give_up() -> None:
        note()
        os._exit(stop.exit_code)

    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    patience = threading.Timer(SHUTDOWN_SECONDS, give_up)
    patience.daemon = True
    patience.start()
    ray.shutdown()
    patience.cancel()
    note()
    sys.exit(stop.exit_code)


def _told(
    error: BaseException, stop: Stop, config: DictConfig, report: dict[str, Any] | None
) -> tuple[How, str]:
    """Return how the run ended and its last line, from what its trainer raised or left behind."""
    cause = getattr(error, "cause", None) or error  # Ray wraps an exception of another process
    if isinstance(cause, RunEndedError):
        return "stopped" if isinstance(cause, RunStoppedError) else "failed", str(cause)
    step = report["steps"] + 1 if report else None
    if stop.by is not None:
        return "stopped", last_line(f"{stop.by.name} ended it at once", config, step=step)
    if report and report["ending"]["how"] == "failed":
        return "failed", report["ending"]["why"]
    if isinstance(cause, RayActorError):
        return "failed", last_line(f"the trainer's process died: {KILLED}", config, step=step)
    return "failed", last_line(f"{type(cause).__name__}: {cause}", config, step=step)


class Stop:
    """What Ctrl-C or SIGTERM does to the starting process of a run.

    The first one asks the trainer to end after its step, with a checkpoint, and gives it some time. After
    that, or with the second one, the run ends at once.

    Args:
        seconds: time for the step in progress.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.running = False
        self.by: signal.Signals | None = None
        self._at = 0.0

    def listen(self) -> None:
        """Handle the signals, from now on in place of Ray."""
        for number in SIGNALS:
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGALRM, signal.default_int_handler)

    def heard(self, error: BaseException) -> None:
        """Note a signal that Ray handled, or Python."""
        if isinstance(error, KeyboardInterrupt):
            self.by = self.by or signal.SIGINT
        if isinstance(error, SystemExit):
            self.by = self.by or signal.SIGTERM

    def _signalled(self, number: int, _: FrameType | None) -> None:
        again, self._at = time.monotonic() < self._at + SAME_SECONDS, time.monotonic()
        if self.by is not None and again:
            return
        asked, self.by = self.by is not None, self.by or signal.Signals(number)
        if asked or not self.running or not self.seconds:
            raise KeyboardInterrupt
        print(
            f"verl_egrsd: {self.by.name}: the run ends after its step, or in {self.seconds:g} s "
            "(watchdog.stop); a second signal ends it at once.",
            file=sys.stderr,
            flush=True,
        )
        # Not in the handler itself: it interrupts a call of Ray.
        self.asking = threading.Thread(target=ask_to_stop, daemon=True)
        self.asking.start()
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    @property
    def exit_code(self) -> int:
        """Exit code of a run that ended early: 128 and the signal's number, else 1."""
        return 1 if self.by is None else 128 + self.by


class Runner:
    """verl's task runner, whose trainer `stop` ends.

    Args:
        stop: listens to signals as soon as Ray has started, which sets handlers of its own.
        actor: the class that verl starts.
    """

    def __init__(self, stop: Stop, actor: Any = TaskRunnerV1) -> None:
        self.stop, self.actor = stop, actor

    def options(self, **options: Any) -> Runner:
        """Return the same with options of Ray, which verl passes for its profiler."""
        return Runner(self.stop, self.actor.options(**options))

    def remote(self) -> SimpleNamespace:
        """Start the process of the trainer; return what verl calls, `run.remote`."""
        self.stop.listen()
        runner = self.actor.remote()

        def run(config: DictConfig) -> Any:
            self.stop.running = True
            return runner.run.remote(config)

        return SimpleNamespace(run=SimpleNamespace(remote=run))
