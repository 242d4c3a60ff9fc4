"""The commands that train: one for all runs of a start, and one for each run of supervised training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from recipes.miniature.arms import SUPERVISED, Run
from recipes.processes import Job

MINIATURE = Path(".cache/rehearsal/miniature")


def training_jobs(runs: Sequence[Run], out: Path, steps: int) -> list[Job]:
    """Return the jobs that train runs of one start, in order.

    Args:
        runs: what to train.
        out: folder of the measurement.
        steps: updates of each run.
    """
    folder, logs = out / "runs", out / "logs"
    if runs[0].arm.start == SUPERVISED:
        return [Job(sft_command(run, folder, steps), logs / f"train-{run.name}.log") for run in runs]
    command = [sys.executable, "-m", "recipes.miniature.train", "--out", str(folder)]
    command += ["--runs", *(run.name for run in runs), "--set", f"trainer.total_training_steps={steps}"]
    return [Job(command, logs / f"train-{runs[0].name}.log")]


def sft_command(run: Run, out: Path, steps: int) -> list[str]:
    """Return the command of a run: all weights learn the solutions that other arms show the teacher.

    Args:
        run: arm and seed; the seed decides the order of the data.
        out: folder of all runs.
        steps: updates of 32 rows.
    """
    folder, data = (out / run.name).absolute(), MINIATURE / "data"
    return [
        *(sys.executable, "-m", "verl_egrsd.cli", "sft", "+base=tiny", "+hardware=cpu", *run.arm.overrides),
        *(f"model.path={MINIATURE / 'model'}", "model.lora_rank=0"),
        *(f"data.train_files={data / 'train.parquet'}", f"data.val_files={data / 'validation.parquet'}"),
        *(f"trainer.seed={run.seed}", f"trainer.default_local_dir={folder}", "trainer.logger=[console,file]"),
        *(f"trainer.experiment_name={run.name}", f"trainer.total_training_steps={steps}"),
        *(f"trainer.save_freq={steps}", "trainer.test_freq=-1", "trainer.resume_mode=disable"),
    ]
