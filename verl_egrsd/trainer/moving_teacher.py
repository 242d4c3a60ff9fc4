"""A teacher that moves with the student, mixed into verl's synchronous trainer.

The workers hold and move its weights (`TeacherWorker.refresh_teacher`). This module calls them after each
update and with each checkpoint. The teacher's shards are stored beside the actor's, before verl marks the
checkpoint as complete. The fingerprint in `egrsd.json` records how the teacher moves, as
`actor_rollout_ref.teacher`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transfer_queue import KVBatchMeta

from verl_egrsd.checkpoints.resume import Start
from verl_egrsd.config import PACE, TeacherConfig
from verl_egrsd.teacher.refresh import decay_after, mean_age

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object

REFRESH = "actor_rollout_ref.teacher.refresh"


class MovingTeacher(Trainer):
    """Moves the teacher after each update, and saves and loads it with checkpoints."""

    teacher_config: TeacherConfig
    start: Start

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch = super()._update_actor(batch, metrics)
        if self.teacher_config.moves:
            decay = decay_after(self.teacher_config, self.global_steps)
            moved, *_ = self.actor_rollout_wg.refresh_teacher(decay)
            metrics.update(moved)
            metrics["egrsd/teacher/age"] = mean_age(self.teacher_config, self.global_steps)
        return batch

    def _save_checkpoint(self) -> None:
        if self.teacher_config.has_own_weights(self.config.actor_rollout_ref.model.get("lora_adapter_path")):
            folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
            self.actor_rollout_wg.save_teacher(str(folder / "actor"))
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        """Load the teacher of the checkpoint; if it was frozen, the teacher keeps the initial weights."""
        super()._load_checkpoint()
        if self.start.checkpoint is None or not self.teacher_config.moves:
            return
        before, _ = self.start.changed.get(REFRESH, (self.teacher_config.refresh, None))
        if before in PACE:
            self.actor_rollout_wg.load_teacher(str(self.start.checkpoint.absolute() / "actor"))
        elif before == "current":
            self.actor_rollout_wg.refresh_teacher(0.0)
