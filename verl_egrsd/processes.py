"""How processes end: by Ctrl-C or SIGTERM, with a line; children do not outlive what started them."""

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
def interruptible() -> Iterator[None]:
    """Let Ctrl-C do in the block what it does in a plain Python.

    Around `asyncio.run`, it cancels the main task; asyncio leaves another handler in its place. Around a
    blocking call inside of that, it ends the call at once, while asyncio would wait for its end.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with _handling(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler):
        yield


@contextmanager
def ended_by_signals(command: str, said: str = "interrupted: run the same command again.") -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block, and then this process, with a line and 128 + the signal's number.

    Both raise KeyboardInterrupt in the block. Where that gets a text on its way, the line tells it.

    Signals within `SAME_SECONDS` of one are the same: a program between a terminal and this process, such as
    `timeout`, passes on the Ctrl-C that both get. The second would break off what is said about the first.

    Args:
        command: what the line begins with.
        said: what it tells where the KeyboardInterrupt has no text.
    """
    by, last = signal.SIGINT, -math.inf

    def heard(number: int, _: Any) -> None:
        nonlocal by, last
        again, last = time.monotonic() < last + SAME_SECONDS, time.monotonic()
        if again:
            return
        by = signal.Signals(number)
        if signal.getsignal(signal.SIGINT) in (heard, signal.SIG_IGN):
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # the block has a way of its own, such as asyncio's

    # A shell has what it starts in the background ignore Ctrl-C.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with (
        _handling(signal.SIGTERM, heard),
        _handling(signal.SIGINT, signal.SIG_IGN if ignored else heard),
    ):
        try:
            yield
        except KeyboardInterrupt as interrupt:
            print(f"{command}: {str(interrupt) or said}", file=sys.stderr)
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
