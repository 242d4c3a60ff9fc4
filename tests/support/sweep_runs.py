"""Train runs of the miniature on one start, and the first one once more at the end.

Usage: python -m tests.support.sweep_runs --out OUT --runs RUN... --set KEY=VALUE...
Every run is in OUT/<run>, the last one in OUT/again/<run>. The teacher of `rlsd-0` is copied after each step.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recipes.miniature.sweep import sweep
from recipes.miniature.train import INITIAL, compose_run, read_run
from verl_egrsd.main import check

MOVED = {"rlsd-0": ("actor_rollout_ref.teacher.refresh=copy", "actor_rollout_ref.teacher.every=1")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", nargs="+")
    parser.add_argument("--set", nargs="*", default=())
    given = parser.parse_args()
    places = [(given.out, name) for name in given.runs] + [(given.out / "again", given.runs[0])]
    configs = [
        compose_run(read_run(name), folder, [*given.set, *MOVED.get(name, ())]) for folder, name in places
    ]
    for config in configs:
        check(config)
        os.makedirs(config.trainer.default_local_dir, exist_ok=True)
    sweep(configs, given.out / INITIAL)


if __name__ == "__main__":
    main()
