"""What the trainer remembers beside weights, optimiser and data, through checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from verl_egrsd.checkpoints.resume import STATE_FILE, Start, read_state
from verl_egrsd.output.files import write_completed
from verl_egrsd.trainer.advantage_step import AdvantageStep

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object


class SavedState(Trainer):
    """Writes `egrsd.json` into every checkpoint, and goes on from it."""

    start: Start
    advantage_step: AdvantageStep

    def _save_checkpoint(self) -> None:
        # Before verl's own files: its last one marks the checkpoint as complete.
        path = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}" / STATE_FILE
        model = self.config.actor_rollout_ref.model.path
        state = {
            "base_model": str(Path(model).resolve()) if Path(model).is_dir() else model,
            **self.advantage_step.state_dict(),
            "fingerprint": self.start.fingerprint,
            "breaks": self.start.breaks,
        }
        write_completed(path, json.dumps(state))
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        # A position among other rows means nothing.
        beginning = self.train_dataloader.state_dict() if self.start.data_starts_anew else None
        super()._load_checkpoint()
        if self.start.checkpoint is None:
            return
        if beginning is not None:
            self.train_dataloader.load_state_dict(beginning)
        self.advantage_step.load_state_dict(read_state(self.start.checkpoint))
