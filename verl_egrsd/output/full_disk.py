"""A disk that is full: which error says so, and the sentence that names the file and the remedy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OURS = "no space left for"
_SIGNS = (_OURS, "No space left on device", "Disk quota exceeded", "File too large", "unexpected pos")
"""What an error of a full disk says; the last is torch's, which does not say why a write came short."""


def is_of_full_disk(error: BaseException) -> bool:
    """Return whether an error is that of a full disk; an exception of another process holds it as text."""
    return any(sign in str(error) for sign in _SIGNS)


def no_space(path: Path) -> str:
    """Return the begin of a sentence: the file or folder that did not fit, and what is free on its disk."""
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free
    return f"{_OURS} {path} ({free / 2**20:,.1f} MiB free)"


@contextmanager
def named_if_full(path: Path) -> Iterator[None]:
    """Name the file or folder that the block writes, if the disk has no space for it.

    Raises:
        OSError: with the path and the remedy.
    """
    try:
        yield
    except Exception as error:  # not only OSError: safetensors has an error of its own
        if not is_of_full_disk(error) or _OURS in str(error):
            raise
        raise OSError(f"{no_space(path)}: free some, and run the same command again.") from error
