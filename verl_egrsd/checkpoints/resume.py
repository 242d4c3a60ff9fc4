"""Where a run starts: anew, or from a checkpoint of the same run. A checkpoint of another run is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from verl_egrsd.checkpoints.choice import ANOTHER_FOLDER, checkpoint_to_resume
from verl_egrsd.checkpoints.files import file_sentence, json_problem, read_object
from verl_egrsd.checkpoints.fingerprint import Changes, Fingerprint, changes, fingerprint
from verl_egrsd.checkpoints.pickles import require_plain
from verl_egrsd.checkpoints.places import (
    RANKS,
    RANKS_FILE,
    RANKS_HOLDS,
    STATE_FILE,
    STATE_HOLDS,
    saved_step,
    step_number,
)
from verl_egrsd.config import build
from verl_egrsd.preflight.reading import plain

RUN_FILE = "fingerprint.json"
"""File in the folder of the checkpoints: the fingerprint of the run that wrote there last."""
_SHOWN = 8
"""A refusal lists this many changes, and counts the rest."""


@dataclass(frozen=True)
class ResumeConfig:
    """The block `resume` of a configuration.

    Attributes:
        accept_changes: whether a run resumes from a checkpoint that was trained with other settings or data.
        trust: folder of a checkpoint whose files may run code; None trusts no checkpoint.
    """

    accept_changes: bool = False
    trust: str | None = None

    def __post_init__(self) -> None:
        """Refuse values of another type."""
        if not isinstance(self.accept_changes, bool):
            raise ValueError(f"resume.accept_changes={self.accept_changes!r}: it must be true or false.")
        if self.trust is not None and not isinstance(self.trust, str):
            raise ValueError(f"resume.trust={self.trust!r}: it must be the folder of a checkpoint.")


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        fingerprint: fingerprint of the run that starts now.
        checkpoint: folder `global_step_N` that it resumes from; None starts anew.
        step: N, 0 without a checkpoint.
        changed: settings that differ from those of the checkpoint, accepted by the user.
        breaks: every accepted change so far, `{"step": N, "changed": {key: [before, now]}}`; `changed` is
            empty if the checkpoint does not record its settings.
        report_is_ours: whether the run that wrote last in this folder is the one that resumes.
    """

    fingerprint: Fingerprint
    checkpoint: Path | None = None
    step: int = 0
    changed: Changes = field(default_factory=dict)
    breaks: tuple[dict[str, Any], ...] = ()
    report_is_ours: bool = True

    @property
    def data_starts_anew(self) -> bool:
        """Whether the rows changed, so that the position in the data is meaningless."""
        return any(key.startswith(("data.", "actor_rollout_ref.teacher.")) for key in self.changed)


def settle_start(config: DictConfig) -> Start:
    """Find the checkpoint that verl would resume from, and compare its run with this one.

    Args:
        config: the whole configuration after :func:`verl_egrsd.preflight.preflight`.

    Raises:
        ValueError: when the checkpoint cannot be found or is not whole, was not written by this package, was
            written by another number of ranks, holds code, or belongs to a run with other settings or data.
            The message names the keys or the file, both values and the remedy.
    """
    resume = build(ResumeConfig, plain(config.get("resume")), "resume")
    now = json.loads(json.dumps(fingerprint(plain(config))))
    folder = checkpoint_to_resume(config)
    if folder is None:
        return Start(now)
    state, step = read_state(folder), step_number(folder) or 0
    _require_ranks(config, folder)
    require_plain(folder, resume.trust)
    before, breaks = state.get("fingerprint"), state.get("breaks", [])
    changed = {} if before is None else changes(before, now)
    if before is None or changed:
        if not resume.accept_changes:
            raise ValueError(_refusal(folder, changed))
        breaks = [*breaks, {"step": step, "changed": {key: [*pair] for key, pair in changed.items()}}]
    return Start(now, folder, step, changed, tuple(breaks), _wrote_last(config, before))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the state that the trainer wrote beside a checkpoint.

    Raises:
        ValueError: when another trainer wrote the checkpoint, or the file is damaged.
    """
    path = saved_step(checkpoint).path / STATE_FILE
    if not path.exists():
        raise ValueError(
            f"{checkpoint} has no {STATE_FILE}: a trainer of another package wrote it, so it lacks the state "
            "of the run. Start a new run (trainer.resume_mode=disable, or another "
            "trainer.default_local_dir)."
        )
    return read_object(path, STATE_HOLDS)


def nothing_to_do(start: Start, total_steps: int | None) -> str | None:
    """Return a sentence if all steps are done; None if there are steps to train."""
    if start.checkpoint is None or total_steps is None or start.step < total_steps:
        return None
    return (
        f"nothing to do: {start.checkpoint} has all {total_steps} steps of this run. Raise "
        "trainer.total_training_steps to train on, or name another trainer.default_local_dir for a new run."
    )


def _require_ranks(config: DictConfig, folder: Path) -> None:
    """Refuse another number of ranks, because each rank reads the shards of one rank."""
    path = saved_step(folder).weights / RANKS_FILE
    if not path.exists():
        return
    wrote = read_object(path, RANKS_HOLDS, RANKS)[RANKS]
    ranks = config.trainer.nnodes * config.trainer.n_gpus_per_node
    if ranks != wrote:
        raise ValueError(
            f"{folder} was written by {wrote} ranks, and trainer.nnodes={config.trainer.nnodes} with "
            f"trainer.n_gpus_per_node={config.trainer.n_gpus_per_node} gives {ranks}: verl resumes with the "
            f"same number only. Set them to {wrote} in all, or export the checkpoint and start a new run."
        )


def _wrote_last(config: DictConfig, before: Fingerprint | None) -> bool:
    path = Path(config.trainer.default_local_dir) / RUN_FILE
    if not path.exists():
        return True
    if problem := json_problem(path):
        raise ValueError(
            f"{file_sentence(path, problem, 'the settings of the run that wrote last')} If that was this "
            f"run, remove the file, and the report goes on; else {ANOTHER_FOLDER}."
        )
    return json.loads(path.read_text(encoding="utf-8")) == before


def _refusal(folder: Path, changed: Changes) -> str:
    lines = [f"{key} was {before!r} and is {now!r}" for key, (before, now) in changed.items()]
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"{len(lines) - _SHOWN} more"]
    said = "; ".join(lines) or "it does not say which, so they cannot be compared"
    return (
        f"{folder} was trained with other settings: {said}. Start a new run in another folder "
        "(trainer.default_local_dir; OUTPUT of a recipe), or go on from there on purpose with "
        "resume.accept_changes=true (stock main_ppo: +resume.accept_changes=true)."
    )
