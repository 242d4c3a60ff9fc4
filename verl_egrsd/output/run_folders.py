"""The folders of a training run, which no other run writes to meanwhile."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.output.files import nearest_existing
from verl_egrsd.output.lock import LOCK_FILE, only_writer, require_free

TRAINER_LOCK = ".trainer.lock"
"""The lock of the trainer's process, which may outlive the process that started it."""
WRITTEN = (
    *("trainer.default_local_dir", "report.folder"),
    *("trainer.rollout_data_dir", "trainer.validation_data_dir"),
)
"""The keys that name a run's folders: checkpoints, report, rollouts, answers of validations."""
_REMEDY = f"choose another folder ({', '.join(WRITTEN)}; OUTPUT of a recipe)"


def hold_output(config: DictConfig, name: str = LOCK_FILE) -> ExitStack:
    """Lock the folders of a run until the returned stack is closed.

    Raises:
        OSError: when another run writes to one of them, or when one cannot be written to.
    """
    with ExitStack() as held:
        for folder in output_folders(config):
            held.enter_context(only_writer(folder, _REMEDY, name))
        return held.pop_all()


def require_output(config: DictConfig) -> None:
    """Refuse what :func:`hold_output` refuses, without making or changing a file of a run.

    Raises:
        OSError: when another run writes to one of the folders, or when one cannot be written to.
    """
    for folder in output_folders(config):
        try:
            TemporaryFile(dir=nearest_existing(folder)).close()  # a file without a name
        except OSError as error:
            raise OSError(f"cannot write to {folder} ({error.strerror}): {_REMEDY}.") from error
        for name in (LOCK_FILE, TRAINER_LOCK):
            require_free(folder / name, _REMEDY)


def output_folders(config: DictConfig) -> list[Path]:
    """Return the folders that a run writes to, each once.

    Of the processes that torchrun starts for a run, only the first writes; the others have none.
    """
    if os.environ.get("RANK", "0") != "0":
        return []
    named = (OmegaConf.select(config, key) for key in WRITTEN)
    return list(dict.fromkeys(Path(folder).resolve() for folder in named if folder))
