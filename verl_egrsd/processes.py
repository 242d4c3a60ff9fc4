"""How processes end: SIGTERM as Ctrl-C, and children that do not outlive the process that started them."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

KILLED = "its process was killed or crashed; the usual reason is that memory ran out"
SAME_SECONDS = 1.0
"""A signal that comes this soon after one is the same: from the terminal, and from a process in between."""
_PR_SET_PDEATHSIG = 1
"""Linux, `prctl(2)`: the signal that a process gets when the thread that started it ends."""


@contextmanager
def term_interrupts() -> Iterator[None]:
    """Let SIGTERM do in the block what Ctrl-C does."""
    with _handling(signal.SIGTERM, _interrupt):
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a blocking call in the block at once; asyncio waits for its end."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with _handling(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler):
        yield


@contextmanager
def ended_by_signals(said: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block, and then this process, with exit code 128 + its number.

    Signals within `SAME_SECONDS` of one are the same: a program between a terminal and this process, such as
    `timeout`, passes on the Ctrl-C that both get. The second would break off what is said about the first.

    Args:
        said: returns the line to end with.
    """
    by, last = signal.SIGINT, -math.inf

    def heard(number: int, _: Any) -> None:
        nonlocal by, last
        again, last = time.monotonic() < last + SAME_SECONDS, time.monotonic()
        if not again:
            by = signal.Signals(number)
            raise KeyboardInterrupt

    # A shell has what it starts in the background ignore Ctrl-C.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with (
        _handling(signal.SIGTERM, heard),
        _handling(signal.SIGINT, signal.SIG_IGN if ignored else heard),
    ):
        try:
            yield
        except KeyboardInterrupt:
            print(said(), file=sys.stderr)
            sys.exit(128 + by)


@contextmanager
def unchanged_term() -> Iterator[None]:
    """Undo what the block does to the handling of SIGTERM: Ray sets a handler of its own."""
    with _handling(signal.SIGTERM, signal.getsignal(signal.SIGTERM)):
        yield


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the system send this process a signal when the process that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:  # it ended before the line above
        signal.raise_signal(number)


def _interrupt(*_: Any) -> None:
    # A shell has what it starts in the background ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


@contextmanager
def _handling(number: int, handler: Callable[..., Any] | int | None) -> Iterator[None]:
    """Handle a signal in the block; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
