"""Files and folders that get their name only when they are complete, also if the process crashes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verl_egrsd.output.full_disk import named_if_full
from verl_egrsd.output.lock import only_writer


@contextmanager
def completed(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its name when the block ends without an error.

    After an error the temporary file is removed, and an existing file at `path` is unchanged. A killed
    process leaves the temporary file; the next run overwrites it.

    Raises:
        OSError: naming `path`, and the remedy when the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    try:
        with named_if_full(path):
            yield temporary
            temporary.replace(path)
    except OSError as error:
        # An error of a write, unlike one of an opening, does not name the file.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_completed(path: Path, content: str | bytes) -> None:
    """Write a file in one go; text becomes UTF-8."""
    with completed(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def completed_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which becomes `folder` when the block ends without an error.

    Until then it lies in the hidden folder `.NAME.partial` beside it. A killed process leaves that; the next
    run begins by emptying it.

    Raises:
        FileExistsError: when `folder` exists.
        OSError: when another process writes the same folder, or the disk is full.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already: remove it or choose another folder.")
    partial = folder.with_name(f".{folder.name}.partial")
    with only_writer(partial, "choose another folder"):
        try:
            temporary = partial / folder.name
            shutil.rmtree(temporary, ignore_errors=True)
            with named_if_full(folder):
                temporary.mkdir()
                yield temporary
                temporary.rename(folder)
        finally:
            shutil.rmtree(partial)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(found for found in (path, *path.parents) if found.exists())
