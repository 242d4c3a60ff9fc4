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

    def read_until(self, text: str) -> None:
        """Read until the terminal shows a text.

        Raises:
            EOFError: when the command ended before.
        """
        while text not in self.shown:
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
        while select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
            if not self._read():
                return self.process.wait(limit)
        raise TimeoutError(f"after {limit:g} s the command still runs; it has shown:\n{self.shown}")

    def _read(self) -> bool:
        try:
            found = os.read(self.master, 4096)
        except OSError:  # Linux says so when the last process has closed the terminal
            return False
        self.shown += found.decode(errors="replace").replace("\r\n", "\n")
        return bool(found)
