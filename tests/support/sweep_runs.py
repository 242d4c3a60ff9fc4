"""Train runs of the miniature on one start, then the last one's second half, and the first one once more.

Usage: python -m tests.support.sweep_runs --out OUT --runs RUN... --set KEY=VALUE...
Every run is in OUT/<run>, the resumed one in OUT/resumed/<run>, and the repeated one in OUT/again/<run>. The
teacher of `rlsd-0` is copied after each step; that of `opsd_cl_gated-0`, which has twice the steps, is a
moving average.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from omegaconf import DictConfig

from recipes.miniature.sweep import sweep
from recipes.miniature.train import INITIAL, compose_run, read_run

HALF = "global_step_2"
"""Where the resumed run goes on."""
OWN = {
    "rlsd-0": ("actor_rollout_ref.teacher.refresh=copy", "actor_rollout_ref.teacher.every=1"),
    "opsd_cl_gated-0": (
        *("actor_rollout_ref.teacher.refresh=ema", "actor_rollout_ref.teacher.decay=0.9"),
        *("trainer.total_training_steps=4", "trainer.save_freq=2"),
    ),
}
"""Keys of some runs."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", nargs="+")
    parser.add_argument("--set", nargs="*", default=())
    given = parser.parse_args()
    first, last = given.runs[0], given.runs[-1]
    half = f"trainer.resume_from_path={given.out.absolute() / last / HALF}"

    def composed(name: str, folder: Path, *keys: str) -> DictConfig:
        return compose_run(read_run(name), folder, [*given.set, *OWN.get(name, ()), *keys])

    configs = [
        *(composed(name, given.out) for name in given.runs),
        composed(last, given.out / "resumed", "trainer.resume_mode=resume_path", half),
        composed(first, given.out / "again"),
    ]
    for config in configs:
        os.makedirs(config.trainer.default_local_dir, exist_ok=True)
    sweep(configs, given.out / INITIAL)


if __name__ == "__main__":
    main()
