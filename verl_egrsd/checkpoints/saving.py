"""A checkpoint that does not fit the disk: the run ends with a sentence, and the disk is not left full."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.checkpoints.whole import damage, needed, newest_whole

_SIGNS = ("No space left on device", "Disk quota exceeded", "File too large", "unexpected pos")
"""What an error of a full disk says; the last is torch's, which does not say why a write came short."""


@contextmanager
def saving(config: DictConfig, step: int) -> Iterator[None]:
    """Save a checkpoint in the block; if the disk has no space for it, remove what was written of it.

    Raises:
        OSError: for a full disk, with the file and the last whole checkpoint.
    """
    folder = Path(config.trainer.default_local_dir)
    checkpoint, need = folder / f"global_step_{step}", needed(config)
    try:
        yield
    except Exception as error:
        # An exception of a worker's process holds that of the worker as text.
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        file, free = _written_last(checkpoint), shutil.disk_usage(folder).free
        removed = ""
        if checkpoint.exists() and damage(checkpoint, need):
            shutil.rmtree(checkpoint)
            removed = "; the unfinished checkpoint was removed"
        last = newest_whole(folder, need)
        said = f"The last whole checkpoint is {last}" if last else "No checkpoint is whole yet"
        raise OSError(
            f"no space left for {file} ({free / 2**20:,.0f} MiB free){removed}. {said}: free some space, and "
            "the same command goes on from there."
        ) from error


def _written_last(folder: Path) -> Path:
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    return max(files, key=lambda path: path.lstat().st_mtime_ns, default=folder)
