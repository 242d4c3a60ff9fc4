"""Ends what a killed run leaves behind: Ray's agents wait a minute for a cluster that is gone.

The reaper is a small process of its own, which outlives the process that starts a run. While that one lives,
it remembers the processes below it: those that are left when it is gone have other parents by then.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from verl_egrsd.watch.shared_memory import sync_segments, unlink_abandoned_syncs

_GRACE_SECONDS = 10.0
"""Time for the processes to end by themselves."""
_LOOK_SECONDS = 2.0
"""Between two looks at what the owner has started."""
_PROGRAM = """
import sys
from contextlib import suppress
sys.path.append(sys.argv[1])
import psutil
from verl_egrsd.watch.reaper import reap
with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it ended before it was looked at
    reap(psutil.Process(int(sys.argv[2])), float(sys.argv[3]))
"""
"""What the reaper runs, given the folder of the package."""


def start_reaper(grace: float = _GRACE_SECONDS) -> subprocess.Popen[bytes]:
    """Have all processes below this one end after it has.

    Args:
        grace: seconds until they are killed.

    Returns:
        the reaper; without it they end by themselves.
    """
    command = [
        sys.executable,
        "-I",
        "-c",
        _PROGRAM,
        str(Path(__file__).parents[2]),
        str(os.getpid()),
        str(grace),
    ]
    nothing = subprocess.DEVNULL
    # In a session of its own, neither Ctrl-C nor the end of the terminal reaches it.
    return subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)


def reap(owner: psutil.Process, grace: float) -> None:
    """Wait for the owner's end, then for that of the processes below it; kill those that take too long.

    A weight sync that they were in leaves shared memory, which is unlinked.
    """
    earlier, below = sync_segments(), set[psutil.Process]()
    gone = os.pidfd_open(owner.pid)
    while not select.select([gone], [], [], _LOOK_SECONDS)[0]:
        below |= _below({owner})
    below |= _below(below)
    _, left = psutil.wait_procs(below - {psutil.Process()}, timeout=grace)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=grace)
    unlink_abandoned_syncs(earlier)


def _below(processes: set[psutil.Process]) -> set[psutil.Process]:
    """Return the processes that these have started, and those that they have."""
    found = set[psutil.Process]()
    for process in processes:
        with suppress(psutil.Error):
            found.update(process.children(recursive=True))
    return found
