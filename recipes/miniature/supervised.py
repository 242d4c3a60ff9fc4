"""Supervised training of the miniature: the arms that have no rollouts, each run with a start of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from recipes.miniature.arms import Run

MINIATURE = Path(".cache/rehearsal/miniature")
LEARNING_RATE = 5e-5
"""That of the other arms (verl_egrsd/configs/model/miniature.yaml)."""


def sft_command(run: Run, out: Path, steps: int) -> list[str]:
    """Return the command of a run: all weights learn the solutions that other arms show the teacher.

    Args:
        run: arm and seed; the seed decides the order of the data.
        out: folder of all runs.
        steps: updates of 32 rows.
    """
    folder, data = (out / run.name).absolute(), MINIATURE / "data"
    return [
        *(sys.executable, "-m", "verl_egrsd.cli", "sft", *run.arm.overrides, "+base=tiny", "+hardware=cpu"),
        *(f"model.path={MINIATURE / 'model'}", "model.lora_rank=0", f"optim.lr={LEARNING_RATE}"),
        *(f"data.train_files={data / 'train.parquet'}", f"data.val_files={data / 'validation.parquet'}"),
        *(f"trainer.seed={run.seed}", f"trainer.default_local_dir={folder}", "trainer.logger=[console,file]"),
        *(f"trainer.experiment_name={run.name}", f"trainer.total_training_steps={steps}"),
        *(f"trainer.save_freq={steps}", "trainer.test_freq=-1", "trainer.resume_mode=disable"),
    ]
