"""A command in a terminal of its own, where Ctrl-C can be typed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CTRL_C = b"\x03"


class Terminal:
    """Runs a command as the foreground of a new terminal; a context manager.

    Args:
        command: the command.
        cwd: its folder.
        environment: its whole environment.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        self.master, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.shown = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def read_until(self, text: str, limit: float = 60.0) -> None:
        """Read until the terminal shows a text, for so many seconds.

        Raises:
            EOFError: when the command ended before.
            TimeoutError: when the command goes on without it.
        """
        deadline = time.monotonic() + limit
        while text not in self.shown:
            self._wait(deadline)
            if not self._read():
                raise EOFError(f"no {text!r} in:\n{self.shown}")

    def press_ctrl_c(self) -> None:
        """Type Ctrl-C, which the terminal sends to everything in its foreground."""
        os.write(self.master, CTRL_C)

    def end(self, limit: float) -> int:
        """Read to the end, for so many seconds; return the exit code.

        Raises:
            TimeoutError: when the command goes on for longer.
        """
        deadline = time.monotonic() + limit
        self._wait(deadline)
        while self._read():
            self._wait(deadline)
        return self.process.wait(limit)

    def _wait(self, deadline: float) -> None:
        if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f"the command has shown for too long no more than:\n{self.shown}")

    def _read(self) -> bool:
        try:
            found = os.read(self.master, 4096)
        except OSError:  # Linux says so when the last process has closed the terminal
            return False
        self.shown += found.decode(errors="replace").replace("\r\n", "\n")
        return bool(found)
