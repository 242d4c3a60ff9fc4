"""A run in a process of its own, watched from outside: its processes, its shared memory, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")
LOOK_SECONDS = 0.5
KILL_SECONDS = 10.0


class WatchedRun:
    """A process; remembers every process below it and every shared-memory segment that these map.

    Args:
        driver: the process.
        log: file that takes its output.
    """

    def __init__(self, driver: psutil.Popen | psutil.Process, log: Path) -> None:
        self.driver, self.log = driver, log
        self.seen: set[psutil.Process] = {self.driver}
        self.mapped: set[Path] = set()
        self._ended = threading.Event()
        self._looker = threading.Thread(target=self._look, daemon=True)
        self._looker.start()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            for parent in [process for process in list(self.seen) if process.is_running()]:
                with suppress(psutil.Error):
                    self.seen.update(parent.children(recursive=True))
            for process in self.left():
                with suppress(psutil.Error, OSError):
                    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
                    self.mapped.update(Path(line.split(None, 5)[5]) for line in lines if "/dev/shm/" in line)

    def left(self) -> list[psutil.Process]:
        """Return the processes of this run that live."""
        return [process for process in list(self.seen) if lives(process)]  # the looker adds some meanwhile

    def segments_left(self) -> list[Path]:
        """Return the shared-memory segments of this run that are still there."""
        return sorted(path for path in self.mapped if path.exists())

    def find(self, title: str) -> psutil.Process:
        """Return the process with this text in its title."""
        for process in self.left():
            with suppress(psutil.Error):
                if title in " ".join(process.cmdline()):
                    return process
        raise LookupError(f"no process {title!r} among {[title_of(process) for process in self.left()]}")

    def wait_for(self, text: str, limit: float) -> None:
        """Wait until the log holds a text."""
        self.wait_until(
            lambda: text in self.log.read_text(errors="replace"), limit, f"{text!r} in {self.log}"
        )

    def wait_until(self, holds: Callable[[], bool], limit: float, what: str) -> None:
        """Wait until something holds, while the driver lives."""
        deadline = time.monotonic() + limit
        while not holds():
            if not lives(self.driver):
                raise RuntimeError(f"the run ended before {what}: {self.last_lines()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} after {limit:.0f} s")
            time.sleep(0.05)

    def wait_for_all(self, limit: float) -> None:
        """Wait for the end of every process, at most `limit` seconds."""
        deadline = time.monotonic() + limit
        while self.left():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {limit:.0f} s these live: {list(map(title_of, self.left()))}")
            time.sleep(0.1)

    def last_lines(self, count: int = 1) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").rstrip().splitlines()[-count:])

    def close(self) -> None:
        """End whatever still lives."""
        for process in self.left():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(list(self.seen), timeout=KILL_SECONDS)
        self._ended.set()
        self._looker.join()


def started(
    command: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path = REPOSITORY
) -> psutil.Popen:
    """Start a command whose output goes to a file; the variables come on top of those of this process."""
    with log.open("w") as stream:
        return psutil.Popen(
            command, cwd=cwd, env=os.environ | environment, stdout=stream, stderr=subprocess.STDOUT
        )


def lives(process: psutil.Process) -> bool:
    """Say whether a process runs; one that waits for its parent to read its exit code does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def title_of(process: psutil.Process) -> str:
    """Return what a process is called."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:80]}"
    except psutil.Error:
        return str(process.pid)
