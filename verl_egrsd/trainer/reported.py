"""A report of the run in its folder, mixed into verl's synchronous trainer."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer_queue import KVBatchMeta

from verl_egrsd.checkpoints.resume import RUN_FILE, Start, nothing_to_do
from verl_egrsd.output.files import write_completed
from verl_egrsd.preflight import plain, report_settings
from verl_egrsd.report.ending import noting
from verl_egrsd.report.run import RunReport, describe_run

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object


class Reported(Trainer):
    """Hands the metrics of every step, of every validation, and the end of the run to `self.report`."""

    start: Start
    held: ExitStack

    def on_init_end(self) -> None:
        """Begin the report, or go on with what the earlier part of a resumed run left."""
        super().on_init_end()
        data = {"training": self.train_dataset.data_files, "validation": self.val_dataset.data_files}
        validated = Counter(self.val_dataset.dataframe["data_source"])
        run = describe_run(plain(self.config), self.total_training_steps, data, validated)
        self.report = RunReport(
            report_settings(self.config),
            run,
            resumed_at=self.global_steps,
            breaks=self.start.breaks,
            goes_on=self.start.report_is_ours,
        )
        path = Path(self.config.trainer.default_local_dir) / RUN_FILE
        write_completed(path, json.dumps(self.start.fingerprint, indent=1))

    def fit(self, agent_loop_manager: Any) -> None:
        """Train; the report says how it ended.

        Raises:
            RuntimeError: when verl's loop ends before the last step.
        """
        with self.held, noting(self.report.end):
            done = nothing_to_do(self.start, self.total_training_steps)
            if done:
                print(f"verl_egrsd: {done}")
            super().fit(agent_loop_manager)
            if not self.config.trainer.val_only and self.global_steps <= self.total_training_steps:
                raise RuntimeError(
                    f"training ended after {self.global_steps - 1} of {self.total_training_steps} steps, "
                    f"since verl left its loop: trainer.total_epochs={self.config.trainer.total_epochs}, "
                    f"{self.steps_per_epoch} steps per epoch."
                )

    def _validate(self) -> dict[str, float]:
        metrics = super()._validate()
        if self.global_steps == self.report.resumed_at:
            # Before the training; the results of later ones are among the metrics of their step.
            self.report.record(self.global_steps, metrics)
        return metrics

    def _compute_metrics(self, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, *args, **kwargs)
        self.report.record(self.global_steps, metrics)
