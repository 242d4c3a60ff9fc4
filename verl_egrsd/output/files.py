"""Files and folders that get their name only when they are complete, also if the process crashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def completed(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its name when the block ends without an error.

    After an error the temporary file is removed, and an existing file at `path` is unchanged. A killed
    process leaves the temporary file; the next run overwrites it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_completed(path: Path, content: str | bytes) -> None:
    """Write a file in one go; text becomes UTF-8."""
    with completed(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def completed_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, which takes its name when the block ends without an error.

    Raises:
        FileExistsError: when `folder` exists.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already: remove it or choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as unfinished:
        temporary = Path(unfinished) / folder.name
        temporary.mkdir()
        yield temporary
        temporary.rename(folder)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
