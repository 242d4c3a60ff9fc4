"""Train on two ranks with a teacher that moves: four steps, and two after a resume, without Ray.

verl's engine, its optimiser and its checkpoint files are real. The teacher's scores are in the loss, so a
teacher that was lost would change the student too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.worker_probe import ENGINES, ROOMY, TEMPERATURE, Rows, _mask, _teacher, _worker, rendezvous

# isort: split
import torch
from torch import multiprocessing as processes
from verl.utils import tensordict_utils as tu
from verl.workers.utils.padding import response_from_nested

from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher.refresh import decay_after, trained_shards
from verl_egrsd.trainer.queue import jagged
from verl_egrsd.trainer.worker import TeacherWorker

RANKS, LAST, SAVED = 2, 4, 2
"""Processes, steps of a whole run, and the step after which it is saved."""
RECIPES = {
    "lora": TeacherConfig(refresh="ema", decay=0.99),
    "full": TeacherConfig(refresh="copy", every=2),
}


def train_and_resume(model: str, folder: str) -> None:
    """Train the whole run, then its second half in new processes; each rank writes what it found."""
    for first in (1, SAVED + 1):
        processes.start_processes(_rank, (model, folder, first), nprocs=RANKS, start_method="fork")


def _rank(rank: int, model: str, folder: str, first: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": "0"}
    rendezvous(f"{folder}/from_{first}")
    found = {engine: _train(model, engine, Path(folder) / engine, first) for engine in RECIPES}
    torch.save(found, f"{folder}/from_{first}_rank_{rank}.pt")
    torch.distributed.destroy_process_group()


def _train(model: str, engine: str, folder: Path, first: int) -> dict[str, Any]:
    recipe = RECIPES[engine]
    pace = f"every={recipe.every}" if recipe.every else f"decay={recipe.decay}"
    keys = [f"actor_rollout_ref.teacher.{key}" for key in (f"refresh={recipe.refresh}", pace)]
    worker = _worker(model, *ENGINES[engine], *keys)
    worker.actor.set_loss_fn(_loss)
    if first > 1:
        worker.load_checkpoint(str(folder))
        worker.load_teacher(str(folder))
    found: dict[str, Any] = {"scores": {}, "distances": {}}
    for step in range(first, LAST + 1):
        prompts, privileged, responses = _rows(step)
        scores = _teacher(worker, privileged, responses, ROOMY)["teacher_log_prob"]
        _update(worker, prompts, responses, scores)
        moved = worker.refresh_teacher(decay_after(recipe, step))
        found["scores"][step] = torch.cat(scores)
        found["distances"][step] = moved["egrsd/teacher/distance"]
        if step == SAVED:
            worker.save_teacher(str(folder))
            worker.save_checkpoint(str(folder))
    found["student"] = {n: shard.clone() for n, shard in trained_shards(worker.actor.engine.module).items()}
    found["teacher"] = {name: shard.clone() for name, shard in worker.teacher_weights.state_dict().items()}
    return found


def _rows(step: int) -> list[Rows]:
    """Return prompts, privileged prompts and responses of a step, other ones on each rank."""
    draw = torch.Generator().manual_seed(10 * step + torch.distributed.get_rank())
    lengths: Sequence[tuple[int, int]] = ((9, 14), (31, 25), (12, 7))
    return [[torch.randint(0, 400, (n,), generator=draw) for n in pair] for pair in lengths]


def _update(worker: TeacherWorker, prompts: Rows, responses: Rows, scores: Rows) -> None:
    rows = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    columns = {
        "input_ids": jagged(rows),
        "position_ids": jagged([torch.arange(len(row)) for row in rows]),
        "loss_mask": _mask(responses),
        "scores": jagged(scores),
    }
    settings = {"temperature": TEMPERATURE, "calculate_entropy": False, "update_lr_scheduler": True}
    worker.actor.train_batch(tu.get_tensordict(columns, non_tensor_dict=settings))


def _loss(model_output: Any, data: Any, dp_group: Any = None) -> tuple[torch.Tensor, dict]:
    own = response_from_nested(model_output["log_probs"], data["loss_mask"]).values()
    return (data["scores"].values() * own).mean(), {}
