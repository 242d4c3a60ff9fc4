"""verl's supervised trainer with the checkpoints, the report and the refusals of this package."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import torch
from omegaconf import DictConfig
from tensordict import TensorDict
from torch.distributed import destroy_process_group, init_process_group
from verl.trainer.sft_trainer import SFTTrainer
from verl.utils.distributed import initialize_global_process_group

from verl_egrsd.checkpoints.resume import RUN_FILE, Start
from verl_egrsd.compat import check_verl
from verl_egrsd.output.files import write_completed
from verl_egrsd.preflight import plain, report_settings
from verl_egrsd.preflight.reading import file_list
from verl_egrsd.report.ending import Ending, noting
from verl_egrsd.report.history import Steps, read_steps
from verl_egrsd.report.run import RunReport, describe_run
from verl_egrsd.sft.dataset import require_batch
from verl_egrsd.sft.saved_steps import SavedSteps

logger = logging.getLogger(__name__)

LOG = "VERL_FILE_LOGGER_PATH"
"""Variable that tells verl where its log of the steps goes; the report reads it there."""
LEFT_OUT_FILE = "left_out_rows.jsonl"
_SPLITS = {"training": "train", "validation": "val"}


class SolutionTrainer(SFTTrainer):
    """Trains on solutions, one process per rank.

    Args:
        config: the whole configuration after :func:`verl_egrsd.sft.settings.check_sft`.
        start: where the run starts.
    """

    def __init__(self, config: DictConfig, start: Start) -> None:
        self.start = start
        self.seen: Steps = {}
        torch.manual_seed(config.trainer.seed)  # of the adapter's first weights
        super().__init__(config)

    def fit(self) -> None:
        """Train; the report says how it ended. Only the first rank writes it.

        Raises:
            RuntimeError: when verl's loop ends before the last step.
        """
        if self.rank != 0:
            super().fit()
            return
        files = {split: file_list(self.config.data[f"{name}_files"]) for split, name in _SPLITS.items()}
        self.report = RunReport(
            report_settings(self.config),
            describe_run(plain(self.config), self.total_training_steps, files),
            resumed_at=self.resume_global_step,
            breaks=self.start.breaks,
            goes_on=self.start.report_is_ours,
        )
        path = Path(self.config.trainer.default_local_dir) / RUN_FILE
        write_completed(path, json.dumps(self.start.fingerprint, indent=1))
        with noting(self._end):
            super().fit()
            self._read_log()
            done = max(self.seen, default=self.resume_global_step)
            if done < self.total_training_steps:
                raise RuntimeError(
                    f"training ended after {done} of {self.total_training_steps} steps, since verl left its "
                    f"loop: trainer.total_epochs={self.config.trainer.total_epochs}, "
                    f"{self.steps_per_epoch} steps per epoch."
                )

    def _build_dataset(self) -> None:
        super()._build_dataset()
        batch = self.config.data.train_batch_size
        for split, rows in (("train", self.train_dataset), ("val", self.val_dataset)):
            if rows is not None:
                require_batch(len(rows), batch, split)
        self._list_left_out()

    def _list_left_out(self) -> None:
        left_out = self.train_dataset.left_out
        if self.rank != 0 or not left_out:
            return
        path = Path(self.config.trainer.default_local_dir) / LEFT_OUT_FILE
        write_completed(path, "".join(json.dumps(row._asdict()) + "\n" for row in left_out))
        total = len(left_out) + len(self.train_dataset)
        logger.warning("%d of %d training rows left out, listed in %s", len(left_out), total, path)

    def _build_dataloader(self) -> None:
        super()._build_dataloader()
        self.train_sampler.seed = self.config.trainer.seed

    def _init_engine(self) -> None:
        trainer, per_epoch = self.config.trainer, len(self.train_dataloader)
        if trainer.total_training_steps is not None:
            # verl would stop at the end of the epochs, without its last checkpoint.
            trainer.total_epochs = -(-trainer.total_training_steps // per_epoch)
        super()._init_engine()
        if self.rank == 0:
            print(
                f"verl_egrsd: {len(self.train_dataset)} training rows in batches of "
                f"{self.config.data.train_batch_size} give {per_epoch} steps per epoch; this run has "
                f"{self.total_training_steps} steps."
            )

    def _build_ckpt_handler(self) -> None:
        trainer = self.config.trainer
        self.ckpt_handler = SavedSteps(
            config=self.config,
            start=self.start,
            engine=self.engine,
            train_dataloader=self.train_dataloader,
            default_local_dir=trainer.default_local_dir,
            max_ckpt_to_keep=trainer.max_ckpt_to_keep,
            default_hdfs_dir=trainer.default_hdfs_dir,
            resume_mode="resume_path" if self.start.checkpoint else "disable",
            resume_from_path=self.start.checkpoint and str(self.start.checkpoint),
            lora_train_meta=self._get_lora_train_meta(),
        )

    def _get_batch_seqlens(self, data: TensorDict) -> list[int]:
        # The one method that verl calls at every step; by now the step before is in its log.
        if self.rank == 0:
            self._read_log()
        return super()._get_batch_seqlens(data)

    def _read_log(self) -> None:
        """Hand the steps that verl has logged since the last look to the report."""
        path = Path(os.environ[LOG])
        steps = read_steps(path) if path.exists() else {}
        for step, metrics in steps.items():
            if metrics != self.seen.get(step):
                self.report.record(step, metrics)
        self.seen = steps

    def _end(self, ended: Ending) -> None:
        self._read_log()
        self.report.end(ended)


def train_sft(config: DictConfig, start: Start) -> None:
    """Train as the rank that the environment names, as `torchrun` sets it."""
    check_verl(supervised=True)
    if config.trainer.device == "cpu":
        # verl would ask torch for "cpu:gloo,cpu:gloo", which torch refuses.
        init_process_group("gloo")
    else:
        initialize_global_process_group()
    SolutionTrainer(config, start).fit()
    destroy_process_group()
