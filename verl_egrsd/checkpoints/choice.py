"""Which checkpoint a run goes on from."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from verl_egrsd.checkpoints.places import STATE_FILE, step_number
from verl_egrsd.checkpoints.whole import Needed, checkpoints, damage, needed, newest_whole

logger = logging.getLogger(__name__)

TRACKER = "latest_checkpointed_iteration.txt"
"""File in the folder of the checkpoints: the step of the last one."""
LATEST_WHOLE = "latest-whole"
"""Value of `trainer.resume_mode`: the newest checkpoint that can be read, whatever the file above says."""
RESUME_MODES = ("auto", "disable", "resume_path", LATEST_WHOLE)
ANOTHER_FOLDER = "start a new run in another folder (trainer.default_local_dir; OUTPUT of a recipe)"


def checkpoint_to_resume(config: DictConfig) -> Path | None:
    """Return the folder `global_step_N` that `trainer.resume_mode` selects; None starts anew.

    Raises:
        ValueError: when that checkpoint is missing or not whole. The message names the file, what it should
            hold, and the newest whole checkpoint.
    """
    trainer, need = config.trainer, needed(config)
    folder = Path(trainer.default_local_dir)
    if trainer.resume_mode == "disable":
        return None
    if trainer.resume_mode == "resume_path":
        return _whole(_named(trainer.resume_from_path), folder, need)
    if trainer.resume_mode == LATEST_WHOLE:
        return _latest(folder, need)
    tracker = folder / TRACKER
    return _whole(_marked(tracker, need), folder, need) if tracker.exists() else _unmarked(folder, need)


def _named(path: str | None) -> Path:
    folder = Path(path or "")
    if step_number(folder) is None:
        raise ValueError(
            f"trainer.resume_from_path={path}: it must be an existing folder global_step_N of a run. Correct "
            "it, or leave trainer.resume_mode at auto."
        )
    return folder


def _marked(tracker: Path, need: Needed) -> Path:
    """Return the checkpoint that the file of the last step names."""
    text = tracker.read_text(errors="replace").strip()
    folder = tracker.with_name(f"global_step_{text}")
    if not text.isdecimal():
        said = f"holds {text[:40]!r} instead of the step" if text else "is empty; it should hold the step"
        raise ValueError(f"{tracker} {said} of the last checkpoint. {_remedy(tracker.parent, need)}")
    if step_number(folder) is None:
        raise ValueError(
            f"{tracker} names step {text}, but {folder} is not there: the run would start anew over the "
            f"earlier one. {_remedy(tracker.parent, need)}"
        )
    return folder


def _unmarked(folder: Path, need: Needed) -> Path | None:
    """Return the newest whole checkpoint of a folder that lost, or never had, the file that names it."""
    found = newest_whole(folder, need)
    if found:
        logger.warning("%s is missing: going on from the newest whole checkpoint %s", folder / TRACKER, found)
    return found


def _latest(folder: Path, need: Needed) -> Path:
    found = newest_whole(folder, need)
    if found is None:
        raise ValueError(f"trainer.resume_mode={LATEST_WHOLE}: {_remedy(folder, need)}")
    return found


def _whole(checkpoint: Path, folder: Path, need: Needed) -> Path:
    """Refuse a checkpoint that is not whole; one of another trainer lacks more, and is refused later."""
    broken = damage(checkpoint, need) if (checkpoint / STATE_FILE).exists() else None
    if broken:
        raise ValueError(f"{broken} {_remedy(folder, need)}")
    return checkpoint


def _remedy(folder: Path, need: Needed) -> str:
    """Say what can be resumed from in a folder, and how."""
    here = checkpoints(folder)
    if not here:
        return f"{folder} holds no checkpoint: put it back, or {ANOTHER_FOLDER}."
    listed = ", ".join(f"{path.name}{'' if damage(path, need) is None else ' (not whole)'}" for path in here)
    whole = newest_whole(folder, need)
    if whole is None:
        return f"{folder} holds no whole checkpoint ({listed}): {ANOTHER_FOLDER}."
    return (
        f"{folder} holds {listed}. The newest whole checkpoint is {whole}: "
        f"trainer.resume_mode={LATEST_WHOLE} goes on from it (RESUME={LATEST_WHOLE} of a recipe)."
    )
