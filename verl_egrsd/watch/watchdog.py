"""Ends the trainer's thread when a phase takes too long or a process of the run is dead.

The trainer waits in `ray.get` for processes that may never answer. So a second thread looks at the clock and
at the processes, and interrupts the waiting one by a signal. Ray passes only KeyboardInterrupt on from a
signal handler, so that is raised; :attr:`Watchdog.cause` tells why.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from verl_egrsd.watch.settings import PHASES, WatchdogConfig

SIGNAL = signal.SIGUSR1
REACT_SECONDS = 20.0
"""A thread that does not react to its interruption for this long never will."""


class Watchdog:
    """Watches a block of the main thread.

    Args:
        config: deadlines.
        dead: says which process of the run is dead, or None.
        last_resort: is told the cause when the main thread does not react; then the process ends.
    """

    def __init__(
        self,
        config: WatchdogConfig,
        dead: Callable[[], str | None],
        last_resort: Callable[[str], None],
    ) -> None:
        self.config, self.dead, self.last_resort = config, dead, last_resort
        self.cause: str | None = None
        self.phase: str | None = None
        self._since = time.monotonic()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Watch a block, which must run in the main thread.

        Raises:
            KeyboardInterrupt: in the block, when it must end; `cause` says why.
        """
        done = threading.Event()
        before = signal.signal(SIGNAL, _interrupt)
        thread = threading.Thread(target=self._watch, args=(done,), name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            signal.signal(SIGNAL, before)

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Hold a phase to its deadline; the phase around it goes on afterwards, with a fresh one."""
        before = self.phase
        self.enter(phase)
        yield
        # After an exception `phase` still names where it came from.
        self.enter(before)

    def enter(self, phase: str | None) -> None:
        """Begin a phase, or none."""
        self.phase, self._since = phase, time.monotonic()

    def overdue(self) -> str | None:
        """Say which phase is over its deadline, or None."""
        phase, since = self.phase, self._since
        if phase is None:
            return None
        limit: float = getattr(self.config, phase)
        if time.monotonic() - since < limit:
            return None
        return f"{PHASES[phase]} took longer than its limit of {limit:g} s (watchdog.{phase})"

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(self.config.every):
            cause = self.overdue() or self.dead()
            if cause and not done.is_set():
                self.cause = cause
                signal.pthread_kill(_main_thread(), SIGNAL)
                if not done.wait(REACT_SECONDS):
                    self.last_resort(cause)
                    sys.stderr.flush()
                    os._exit(1)
                return


def _main_thread() -> int:
    return threading.main_thread().ident or 0


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
