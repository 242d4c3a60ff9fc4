"""Train runs of the miniature, one after another on one start of Ray and vLLM.

    python -m recipes.miniature.train --out DIR --runs egrsd-0 rlsd-0 [--set key=value ...]

Every run leaves its report and its last checkpoint in DIR/<run>.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from recipes.miniature.arms import ARMS, SHUFFLED, Run
from verl_egrsd.watch.cluster import require_cluster

INITIAL = "initial"
"""Folder of the engine's initial state, which every run begins with."""


def compose_run(run: Run, out: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Return the whole configuration of a run.

    Args:
        run: arm and seed; the seed decides the order of the data and the shuffled control.
        out: folder of all runs.
        overrides: of every run, for instance `trainer.total_training_steps=40`; they win.
    """
    folder = (out / run.name).absolute()
    keys = [
        *("+model=miniature", "+hardware=cpu", *run.arm.overrides),
        f"data.seed={run.seed}",
        *(f"trainer.default_local_dir={folder}", f"trainer.experiment_name={run.name}"),
        "trainer.save_freq=${trainer.total_training_steps}",
        "trainer.resume_mode=disable",
    ]
    if run.arm.name == SHUFFLED:
        keys.append(f"algorithm.egrsd.seed={run.seed}")
    if run.arm.wrong_solutions:
        keys.append("data.train_files=.cache/rehearsal/miniature/data/train_wrong.parquet")
    with initialize_config_module("verl_egrsd.configs", version_base=None):
        return compose("egrsd", overrides=[*keys, *overrides])


def main(arguments: Sequence[str] | None = None) -> None:
    """Compose and check every run before the first one starts; then train."""
    parser = argparse.ArgumentParser(prog="python -m recipes.miniature.train")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--runs", nargs="+", required=True, metavar="ARM-SEED")
    parser.add_argument("--set", nargs="*", default=(), metavar="KEY=VALUE", help="overrides of all runs")
    given = parser.parse_args(arguments)
    configs = [compose_run(read_run(name), given.out, given.set) for name in given.runs]
    require_cluster(configs[0])

    from recipes.miniature.sweep import sweep
    from verl_egrsd.main import check

    for config in configs:
        check(config)
        os.makedirs(config.trainer.default_local_dir, exist_ok=True)
    sweep(configs, (given.out / INITIAL).absolute())


def read_run(name: str) -> Run:
    """Return the run of a name like `egrsd-0`."""
    arm, _, seed = name.rpartition("-")
    return Run(ARMS[arm], int(seed))


if __name__ == "__main__":
    main()
