"""Which checkpoints are whole: every file that a resume reads is there and was written to its end.

The numbers in large files are not read, so this takes a moment however large the checkpoint is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.checkpoints.files import file_sentence, json_problem, torch_problem
from verl_egrsd.checkpoints.places import RANKS, RANKS_FILE, RANKS_HOLDS, STATE_FILE, STATE_HOLDS, step_number
from verl_egrsd.checkpoints.reading import STUDENT_FILE, TEACHER_FILE

OPTIMISER_FILE = "optim_world_size_{ranks}_rank_{rank}.pt"
EXTRA_FILE = "extra_state_world_size_{ranks}_rank_{rank}.pt"
SHARDS = {
    "model": (STUDENT_FILE, "the weights"),
    "optimizer": (OPTIMISER_FILE, "the state of the optimiser"),
    "extra": (EXTRA_FILE, "the random state and the learning-rate schedule"),
}
"""Files of each rank that verl writes, by their name in `checkpoint.load_contents`, and what they hold."""
_LOADED = ("actor_rollout_ref.actor.checkpoint.load_contents", "checkpoint.load_contents")


@dataclass(frozen=True)
class Needed:
    """What a resume reads of a checkpoint.

    Attributes:
        shards: keys of `SHARDS`.
        of_all_ranks: whether the shards of all ranks must be here; other nodes may keep theirs themselves.
        supervised: whether supervised training wrote it, whose shards have no folder of their own.
    """

    shards: Sequence[str] = tuple(SHARDS)
    of_all_ranks: bool = True
    supervised: bool = False


def needed(config: DictConfig) -> Needed:
    """Return what a run with this configuration reads of its checkpoint."""
    loaded = next(filter(None, (OmegaConf.select(config, key) for key in _LOADED)), tuple(SHARDS))
    nodes = OmegaConf.select(config, "trainer.nnodes", default=1)
    return Needed(
        tuple(name for name in SHARDS if name in loaded),
        of_all_ranks=nodes == 1,
        supervised="actor_rollout_ref" not in config,
    )


def newest_whole(folder: Path, need: Needed) -> Path | None:
    """Return the whole checkpoint of the highest step in the folder of a run's checkpoints; None without one.

    The file that names the latest checkpoint is not read.
    """
    return next((path for path in reversed(checkpoints(folder)) if damage(path, need) is None), None)


def checkpoints(folder: Path) -> list[Path]:
    """Return all folders `global_step_N` in a folder, in the order of N; they need not be whole."""
    found = {path: step_number(path) for path in folder.glob("global_step_*")}
    steps = {path: number for path, number in found.items() if number is not None}
    return sorted(steps, key=steps.__getitem__)


def damage(checkpoint: Path, need: Needed) -> str | None:
    """Return a sentence that names the first file that cannot be read, and what it should hold; else None."""
    return next(_damages(checkpoint, need), None)


def _damages(checkpoint: Path, need: Needed) -> Iterator[str]:
    weights = checkpoint if need.supervised else checkpoint / "actor"
    ranks_file = weights / RANKS_FILE
    if problem := json_problem(checkpoint / STATE_FILE):
        yield file_sentence(checkpoint / STATE_FILE, problem, STATE_HOLDS)
    if problem := json_problem(ranks_file, RANKS):
        yield file_sentence(ranks_file, problem, RANKS_HOLDS)
        return
    ranks = json.loads(ranks_file.read_text())[RANKS]
    for pattern, holds in _shards(weights, need):
        for rank in range(ranks):
            path = weights / pattern.format(ranks=ranks, rank=rank)
            if (problem := torch_problem(path)) and (need.of_all_ranks or path.exists()):
                yield file_sentence(path, problem, f"{holds} of rank {rank}")
    positions = sorted(checkpoint.glob("data_*.pt")) or [checkpoint / "data_0.pt"]
    for path in positions if need.supervised else [checkpoint / "data.pt"]:
        if problem := torch_problem(path):
            yield file_sentence(path, problem, "the position in the data")


def _shards(weights: Path, need: Needed) -> Iterator[tuple[str, str]]:
    yield from (SHARDS[name] for name in need.shards)
    if any(weights.glob(TEACHER_FILE.format(ranks="*", rank="*"))):
        yield TEACHER_FILE, "the teacher's weights"
