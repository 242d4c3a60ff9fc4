"""Ends what a killed run leaves behind: Ray's agents wait a minute for a cluster that is gone.

The reaper is a small process of its own, which outlives the process that starts a run. It knows the run's
processes by a variable that all of them inherit.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_GRACE_SECONDS = 10.0
"""Time for the processes to end by themselves."""
_LOOK_SECONDS = 0.5


def start_reaper(variable: str, grace: float = _GRACE_SECONDS) -> None:
    """Have every process that starts from now on end when this one has ended.

    Args:
        variable: of the environment, by which they are known; its value becomes this process's id.
        grace: seconds until they are killed.
    """
    os.environ[variable] = str(os.getpid())
    command = [sys.executable, "-I", "-S", __file__, variable, str(os.getpid()), str(grace)]
    nothing = subprocess.DEVNULL
    # In a session of its own, neither Ctrl-C nor the end of the terminal reaches it.
    subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)


def reap(mark: bytes, owner: int, grace: float) -> None:
    """Wait for the owner's end, then for that of the marked processes; kill those that take too long."""
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(owner)], [], [])
    deadline = time.monotonic() + grace
    while left := marked(mark):
        for process in left if time.monotonic() > deadline else ():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


def marked(mark: bytes) -> list[int]:
    """Return the other processes of this user that have a variable, `NAME=value`, in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [process for process in found if process != os.getpid()]


if __name__ == "__main__":
    reap(f"{sys.argv[1]}={sys.argv[2]}".encode(), int(sys.argv[2]), float(sys.argv[3]))
