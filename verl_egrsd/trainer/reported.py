"""A report of the run in its folder, mixed into verl's synchronous trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transfer_queue import KVBatchMeta

from verl_egrsd.preflight import plain, report_settings
from verl_egrsd.report.run import RunReport, describe

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object


class Reported(Trainer):
    """Hands the metrics of every step, and of every validation, to `self.report`."""

    def on_init_end(self) -> None:
        """Begin the report, or go on with what the earlier part of a resumed run left."""
        super().on_init_end()
        data = {"training": self.train_dataset.data_files, "validation": self.val_dataset.data_files}
        run = describe(plain(self.config), self.total_training_steps, data)
        self.report = RunReport(report_settings(self.config), run, resumed_at=self.global_steps)

    def _validate(self) -> dict[str, float]:
        metrics = super()._validate()
        if self.global_steps == self.report.resumed_at:
            # Before the training; the results of later ones are among the metrics of their step.
            self.report.record(self.global_steps, metrics)
        return metrics

    def _compute_metrics(self, batch: KVBatchMeta, metrics: dict, *args: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, *args, **kwargs)
        self.report.record(self.global_steps, metrics)
