"""At which addresses the processes of a run listen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil

SECONDS = 3.0
"""Between two looks; sockets of a run stay open far longer."""


@contextmanager
def recorded_listeners(file: Path, *folders: Path) -> Iterator[None]:
    """Look again and again while the block runs; leave pairs [address, process] in a JSON file.

    Args:
        file: the JSON file.
        folders: those of the run; see :func:`processes`.
    """
    found: set[tuple[str, str]] = set()
    over = Event()

    def look() -> None:
        while not over.wait(SECONDS):
            found.update(listeners(*folders))

    thread = Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        file.write_text(json.dumps(sorted(found)))


def listeners(*folders: Path) -> Iterator[tuple[str, str]]:
    """Yield address and process of each TCP socket on which a process of a run listens."""
    for process in processes(*folders):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            name = (process.cmdline() or [process.name()])[0]
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    yield connection.laddr.ip.removeprefix("::ffff:"), name


def processes(*folders: Path) -> Iterator[psutil.Process]:
    """Yield every process that names a folder, or holds a file in it open; forked ones have no other mark."""
    marks = tuple(f"{folder}/" for folder in folders)
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            paths = [file.path for file in process.open_files()]
            words = [word for word in process.cmdline() if any(mark in f"{word}/" for mark in marks)]
            if words or any(path.startswith(marks) for path in paths):
                yield process
