"""Shared memory that goes with its last process, however that one ends.

A segment has a name until somebody unlinks it. vLLM's processes unlink theirs when they end in order, but Ray
ends them with SIGKILL. Once every process has opened a segment its name is not needed, so it is unlinked
while it is in use: the system frees the memory with the last process. What verl shares during a weight sync
is unlinked by verl itself, unless its process is killed in the middle of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path("/dev/shm")
OF_ENGINES = "psm_"
"""Begin of the names that Python gives to segments; vLLM's queues have them."""
OF_SYNCS = "verl_weights_"
"""Begin of the names of the segments of verl's weight syncs."""


def unname_engine_segments(_: Any = None) -> list[str]:
    """Unlink the segments that the children of this process have open; runs in a vLLM server's process."""
    return unlinked(mapped(psutil.Process().children(recursive=True), OF_ENGINES))


def sync_segments() -> set[Path]:
    """Return the segments of weight syncs, whose names verl draws at random."""
    return {*FOLDER.glob(f"{OF_SYNCS}*")}


def unlink_abandoned_syncs(earlier: set[Path]) -> list[str]:
    """Unlink the segments of this user's weight syncs that no process has open.

    Args:
        earlier: those that were there before the run, and belong to another one.
    """
    found = sync_segments() - mapped(psutil.process_iter(), OF_SYNCS) - earlier
    return unlinked(path for path in found if _ours(path))


def _ours(path: Path) -> bool:
    with suppress(FileNotFoundError):  # its run may have unlinked it meanwhile
        return path.stat().st_uid == os.getuid()
    return False


def mapped(processes: Iterable[psutil.Process], prefix: str) -> set[Path]:
    """Return the segments with this begin of a name that the processes have open."""
    found = set()
    for process in processes:
        # A process may end meanwhile, and those of other users cannot be read.
        with suppress(OSError):
            lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
            found |= {Path(line.split(maxsplit=5)[5]) for line in lines if f"{FOLDER}/{prefix}" in line}
    return found


def unlinked(paths: Iterable[Path]) -> list[str]:
    """Unlink segments; return the names of those that were there."""
    there = [path for path in paths if path.exists()]
    for path in there:
        path.unlink(missing_ok=True)
    return sorted(path.name for path in there)
