"""The worker's part of a teacher with weights of its own: holds them, moves them, saves them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from verl.single_controller.base.decorator import Dispatch, register
from verl.utils.device import get_device_id
from verl.workers.engine_workers import ActorRolloutRefWorker

from verl_egrsd.checkpoints.reading import TEACHER_FILE, require_path
from verl_egrsd.config import resolve_teacher
from verl_egrsd.teacher.refresh import TeacherWeights


class HeldTeacher(ActorRolloutRefWorker):
    """Adds the methods to verl's worker that `trainer.moving_teacher` calls.

    Attributes:
        teacher_weights: None if the teacher's weights are those of an engine.
        adapter_off: whether that engine is the actor with its adapter switched off.
    """

    def hold_teacher(self, section: Mapping[str, Any] | None) -> None:
        """Take the teacher's first weights from the engines, before any update.

        Args:
            section: `actor_rollout_ref.teacher` of the run.
        """
        settings = resolve_teacher(section)
        own = settings.has_own_weights(self.config.model.get("lora_adapter_path"))
        reference = None if self.ref is None else self.ref.engine.module
        self.adapter_off = settings.refresh == "frozen" and not own and reference is None
        self.teacher_weights = TeacherWeights(self.actor.engine.module, reference) if own else None

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def restart_teacher(self, section: Mapping[str, Any] | None) -> None:
        """Hold the teacher of another run of these processes, whose student has its first weights again.

        Args:
            section: `actor_rollout_ref.teacher` of that run.
        """
        if self.ref is not None:
            TeacherWeights(self.actor.engine.module, self.ref.engine.module).follow(decay=0.0)
        self.hold_teacher(section)

    def teacher_in_engine(self) -> AbstractContextManager[None]:
        """Put the teacher's weights into the engine that scores for it, for the block."""
        return nullcontext() if self.teacher_weights is None else self.teacher_weights.standing_in()

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def refresh_teacher(self, decay: float) -> dict[str, float]:
        """Move the teacher's weights towards the student's.

        Args:
            decay: decay of teacher <- decay * teacher + (1 - decay) * student; 1 keeps the teacher.

        Returns:
            `egrsd/teacher/distance`: |teacher - student| / |student| over all trained weights.
        """
        weights = self._held()
        if decay < 1:
            weights.follow(decay)
        norms = weights.squared_norms().float().to(get_device_id())
        torch.distributed.all_reduce(norms)
        apart, student = norms.sqrt().tolist()
        return {"egrsd/teacher/distance": apart / student}

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def save_teacher(self, folder: str) -> None:
        """Write this rank's shards of the teacher into the actor's folder of a checkpoint."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        torch.save(self._held().state_dict(), _file(folder))

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def load_teacher(self, folder: str) -> None:
        """Load this rank's shards of the teacher from a checkpoint.

        Raises:
            FileNotFoundError: when the checkpoint lacks them.
            ValueError: when they belong to another model or to another number of ranks.
        """
        file = require_path(_file(folder), "it holds the teacher's weights, copy it here")
        self._held().load_state_dict(torch.load(file, map_location="cpu", mmap=True, weights_only=True))

    def _held(self) -> TeacherWeights:
        assert self.teacher_weights is not None, (
            "the trainer asks for a teacher that this worker does not hold"
        )
        return self.teacher_weights


def _file(folder: str) -> Path:
    ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    return Path(folder) / TEACHER_FILE.format(ranks=ranks, rank=rank)
