"""What the trainer remembers beside weights, optimiser and data, through checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from omegaconf import open_dict

from verl_egrsd.checkpoints.choice import TRACKER
from verl_egrsd.checkpoints.resume import STATE_FILE, Start, read_state
from verl_egrsd.checkpoints.saving import saving
from verl_egrsd.output.files import write_completed
from verl_egrsd.trainer.advantage_step import AdvantageStep

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object

_NO_CALLBACK = SimpleNamespace(on_save=lambda **_: None)


class SavedState(Trainer):
    """Writes `egrsd.json` into every checkpoint, and goes on from it."""

    start: Start
    advantage_step: AdvantageStep
    checkpoint_callback: Any

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
        with saving(self.config, self.global_steps):
            write_completed(path, json.dumps(state))
            if self.config.actor_rollout_ref.actor.checkpoint.get("async_save"):
                super()._save_checkpoint()
            else:
                self._save_and_mark(path.parent)

    def _save_and_mark(self, checkpoint: Path) -> None:
        """Save, then name the checkpoint as the latest one.

        verl empties the file that names it before it writes it, so a crash between the two loses the name. It
        leaves out the file and calls the callback early when it saves asynchronously; we do both afterwards.
        """
        settings, callback = self.config.actor_rollout_ref.actor.checkpoint, self.checkpoint_callback
        with open_dict(settings):
            settings.async_save, self.checkpoint_callback = True, _NO_CALLBACK
            super()._save_checkpoint()
            settings.async_save, self.checkpoint_callback = False, callback
        write_completed(checkpoint.with_name(TRACKER), str(self.global_steps))
        callback.on_save(
            trainer=self, global_step=self.global_steps, checkpoint_dir=str(checkpoint), async_save=False
        )

    def _load_checkpoint(self) -> None:
        # A position among other rows means nothing.
        beginning = self.train_dataloader.state_dict() if self.start.data_starts_anew else None
        super()._load_checkpoint()
        if self.start.checkpoint is None:
            return
        if beginning is not None:
            self.train_dataloader.load_state_dict(beginning)
        self.advantage_step.load_state_dict(read_state(self.start.checkpoint))
