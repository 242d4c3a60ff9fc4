"""A checkpoint that does not fit the disk: the run ends with a sentence, and the disk is not left full."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.checkpoints.whole import damage, needed
from verl_egrsd.output.full_disk import is_of_full_disk, no_space


@contextmanager
def saving(config: DictConfig, step: int) -> Iterator[None]:
    """Save a checkpoint in the block; if the disk has no space for it, remove what was written of it.

    Raises:
        OSError: for a full disk, with the file. The last line of a run names the last whole checkpoint.
    """
    checkpoint = Path(config.trainer.default_local_dir) / f"global_step_{step}"
    try:
        yield
    except Exception as error:
        if not is_of_full_disk(error):
            raise
        full, removed = no_space(_written_last(checkpoint)), ""
        if checkpoint.exists() and damage(checkpoint, needed(config)):
            shutil.rmtree(checkpoint)
            removed = "; the unfinished checkpoint was removed"
        raise OSError(f"{full}{removed}: free some space") from error


def _written_last(folder: Path) -> Path:
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    return max(files, key=lambda path: path.lstat().st_mtime_ns, default=folder)
