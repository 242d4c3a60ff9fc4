"""One writer per folder: a lock that the system releases when its process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from verl_egrsd.output.full_disk import named_if_full

LOCK_FILE = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of a file system that has no locks."""


@contextmanager
def only_writer(folder: Path, remedy: str, name: str = LOCK_FILE) -> Iterator[None]:
    """Make a folder, and let no other process write to it while the block runs.

    The lock is on a file in the folder, which is removed at the end, as is a new folder that stays empty; a
    killed process leaves the file, unlocked. On a file system without locks a warning says so.

    Args:
        folder: the folder.
        remedy: what the user should do instead, for the messages.
        name: name of the file; two files are two locks.

    Raises:
        OSError: when another process holds the lock, or the folder cannot be written to, or the disk is full.
    """
    path, is_new = folder / name, not folder.exists()
    with _locked(path, remedy) as file:
        try:
            with named_if_full(path):
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield
        finally:
            path.unlink(missing_ok=True)
            if is_new and folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


def _locked(path: Path, remedy: str) -> IO[str]:
    """Return the file with its lock; one that its last holder removed meanwhile is made again."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise OSError(f"cannot write to {path.parent} ({error.strerror}): {remedy}.") from error
        lock(file, _in_use(path, file, remedy))
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


def require_free(path: Path, remedy: str) -> None:
    """Refuse a folder whose lock another process holds, without making or changing a file.

    Args:
        path: the file of the lock.
        remedy: what the user should do instead.

    Raises:
        OSError: when another process holds the lock.
    """
    if path.exists():
        with path.open("r+", encoding="utf-8") as file:
            lock(file, _in_use(path, file, remedy))


def lock(file: IO, refusal: str) -> None:
    """Lock an open file until it is closed.

    Raises:
        OSError: with the given message, when another process holds the lock.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(refusal) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(
            f"{file.name}: this file system has no locks ({error.strerror}), so a second process that writes "
            "here would not be noticed.",
            file=sys.stderr,
        )


def _in_use(path: Path, file: IO[str], remedy: str) -> str:
    file.seek(0)
    holder = file.read(200).strip()
    by = f" by {holder}" if holder else ""
    return f"{path.parent} is in use{by}: {remedy}, or wait until it has ended."
