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
def recorded_listeners(process: psutil.Process, file: Path) -> Iterator[None]:
    """Look again and again while the block runs; leave pairs [address, process] in a JSON file."""
    found: set[tuple[str, str]] = set()
    over = Event()

    def look() -> None:
        while not over.wait(SECONDS):
            found.update(listeners(process))

    thread = Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        file.write_text(json.dumps(sorted(found)))


def listeners(process: psutil.Process) -> Iterator[tuple[str, str]]:
    """Yield address and process of each TCP socket on which a process or its descendants listen."""
    with suppress(psutil.NoSuchProcess):
        for other in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                name = (other.cmdline() or [other.name()])[0]
                for connection in other.net_connections(kind="tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        yield connection.laddr.ip.removeprefix("::ffff:"), name
