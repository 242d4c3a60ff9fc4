"""Checkpoints of supervised training: verl's own, with the file that this package reads beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from verl.utils.checkpoint import CheckpointHandler

from verl_egrsd.checkpoints.places import STATE_FILE
from verl_egrsd.checkpoints.resume import Start
from verl_egrsd.checkpoints.saving import saving
from verl_egrsd.output.files import write_completed


class SavedSteps(CheckpointHandler):
    """verl's handler, which also writes `egrsd.json`: base model, fingerprint of the run, accepted changes.

    Args:
        config: the whole configuration.
        start: where the run starts.
        options: those of verl's handler.
    """

    def __init__(self, *, config: DictConfig, start: Start, **options: Any) -> None:
        self.config, self.start = config, start
        super().__init__(**options)

    def save_checkpoint(self, step: int) -> None:
        """Write our file before verl's own, the last of which marks the checkpoint as complete."""
        with saving(self.config, step):
            if self.rank == 0:
                self._write_state(Path(self.default_local_dir) / f"global_step_{step}" / STATE_FILE)
            super().save_checkpoint(step)

    def _write_state(self, path: Path) -> None:
        base = self.config.model.path
        state = {
            "base_model": str(Path(base).resolve()) if Path(base).is_dir() else base,
            "fingerprint": self.start.fingerprint,
            "breaks": self.start.breaks,
        }
        write_completed(path, json.dumps(state))

    def _load_dataloader_state(self, checkpoint_path: str) -> None:
        # A position among other rows means nothing. One at the end of an epoch has nothing left to give, and
        # verl would count the epoch that follows as done.
        ends_epoch = self.resume_global_step % len(self.train_dataloader) == 0
        if not self.start.data_starts_anew and not ends_epoch:
            super()._load_dataloader_state(checkpoint_path)
