"""The folders of a training run, which no other run writes to meanwhile."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.output.lock import LOCK_FILE, only_writer

TRAINER_LOCK = ".trainer.lock"
"""The lock of the trainer's process, which may outlive the process that started it."""
_REMEDY = "choose another folder (trainer.default_local_dir and report.folder; OUTPUT of a recipe)"


def hold_output(config: DictConfig, name: str = LOCK_FILE) -> ExitStack:
    """Lock the folders of checkpoints and report until the returned stack is closed.

    Raises:
        OSError: when another run writes to one of them, or when one cannot be written to.
    """
    with ExitStack() as held:
        for folder in output_folders(config):
            held.enter_context(only_writer(folder, _REMEDY, name))
        return held.pop_all()


def output_folders(config: DictConfig) -> list[Path]:
    """Return the folders of checkpoints and report, each once.

    Of the processes that torchrun starts for a run, only the first writes; the others have none.
    """
    if os.environ.get("RANK", "0") != "0":
        return []
    checkpoints = config.trainer.default_local_dir
    report = OmegaConf.select(config, "report.folder") or checkpoints
    return list(dict.fromkeys(Path(folder).resolve() for folder in (checkpoints, report)))
