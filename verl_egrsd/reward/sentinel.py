"""Ends a process whose reward function holds the interpreter, so that no time limit inside it can work.

The sentinel is a small process of its own. It is told of the start and the end of each call, names the rows
whose calls run when one is overdue, and ends its owner. It ends by itself with its owner.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Lock

OVERDUE_SECONDS = 10.0
"""Beyond the time limit, which a process that runs Python keeps by itself."""


class Sentinel:
    """Watches calls of this process.

    Args:
        time_limit: seconds for one call.
        grace: seconds beyond the limit at which this process is ended.
        last_words: file that then says why, if its folder is there; None for the log alone.
    """

    def __init__(
        self, time_limit: float, grace: float = OVERDUE_SECONDS, last_words: Path | None = None
    ) -> None:
        self.time_limit, self.grace, self.last_words = time_limit, grace, last_words
        self._numbers, self._lock = count(), Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def watching(self, row: str) -> Iterator[None]:
        """Watch one call, from here to the end of the block.

        Args:
            row: the name of what is scored.
        """
        number = next(self._numbers)
        self._tell({"call": number, "row": row})
        try:
            yield
        finally:
            self._tell({"call": number})

    def _tell(self, message: dict[str, object]) -> None:
        with self._lock:
            if self._process is None:
                command = [sys.executable, "-I", __file__, str(os.getpid())]
                command += [str(self.time_limit), str(self.grace), str(self.last_words or "")]
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()


def watch(owner: int, descriptor: int, time_limit: float, grace: float, last_words: str) -> None:
    """Read messages until the pipe closes; end the owner when a call is overdue.

    Args:
        owner: the process that writes.
        descriptor: where its messages come from.
        time_limit: seconds for one call.
        grace: seconds beyond it.
        last_words: file that says why; "" for none.
    """
    running: dict[int, tuple[float, str]] = {}
    rest = b""
    while True:
        oldest = min(running.values(), default=None)
        left = None if oldest is None else max(0.0, oldest[0] + time_limit + grace - time.monotonic())
        if not select.select([descriptor], [], [], left)[0]:
            assert oldest is not None
            return _end(owner, [row for _, row in sorted(running.values())], time_limit, last_words)
        read = os.read(descriptor, 65_536)
        if not read:
            return None
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "row" in message:
                running[message["call"]] = time.monotonic(), message["row"]
            else:
                running.pop(message["call"], None)


def _end(owner: int, rows: list[str], time_limit: float, last_words: str) -> None:
    """End the owner, unless it has ended: a child of it may hold the pipe open."""
    if os.getppid() != owner:
        return
    calls = "the call" if len(rows) == 1 else f"one of the {len(rows)} calls"
    named = "".join(f"  {row}\n" for row in rows)
    why = (
        f"the reward function took longer than scores.time_limit={time_limit:g} s in {calls} for\n{named}No "
        f"other Python code runs beside it, so its process {owner} is ended. Mend the function (a regular "
        "expression that backtracks for ever is the usual cause), or raise the limit.\n"
    )
    sys.stderr.write(f"verl_egrsd: {why}")
    sys.stderr.flush()
    try:
        if last_words and Path(last_words).parent.is_dir():
            Path(last_words).write_text(why, encoding="utf-8")
    finally:  # the owner ends also where they cannot be written
        os.kill(owner, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the owner too.
    watch(int(sys.argv[1]), sys.stdin.fileno(), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
