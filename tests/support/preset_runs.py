"""Train presets one after another on one start of Ray.

Usage: python -m tests.support.preset_runs --out OUT --presets NAME... --set KEY=VALUE...
Every run is in OUT/<preset>; the preset `all` is GRPO's advantage times every factor that there is.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from recipes.miniature.sweep import sweep
from verl_egrsd.main import check
from verl_egrsd.methods import factors, methods

ALL = "all"
ONE_START = (
    "actor_rollout_ref.actor.policy_loss.loss_mode=egrsd",
    "actor_rollout_ref.actor.clip_ratio_high=0.2",
    "actor_rollout_ref.teacher.refresh=frozen",
)
"""What presets on one start need in common."""


def composed(preset: str, folder: Path, overrides: list[str]) -> DictConfig:
    """Return the configuration of one run."""
    every = [f"algorithm.egrsd.factors=[{','.join(factors())}]", "algorithm.egrsd.advantage=group"]
    own = ["+preset=egrsd", *every] if preset == ALL else [f"+preset={preset}"]
    several = preset == ALL or methods()[preset].needs_group
    size = (4, 2) if several else (8, 1)
    keys = [
        f"trainer.default_local_dir={folder}",
        f"data.train_batch_size={size[0]}",
        f"actor_rollout_ref.rollout.n={size[1]}",
        *("trainer.total_training_steps=2", "trainer.save_freq=-1", "trainer.test_freq=-1"),
        *("trainer.val_before_train=false", "trainer.logger=[console]"),
    ]
    with initialize_config_module("verl_egrsd.configs", version_base=None):
        return compose(
            "egrsd", overrides=[*own, "+model=tiny", "+hardware=cpu", *ONE_START, *keys, *overrides]
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--presets", nargs="+")
    parser.add_argument("--set", nargs="*", default=())
    given = parser.parse_args()
    configs = [composed(name, given.out / name, given.set) for name in given.presets]
    for config in configs:
        check(config)
        os.makedirs(config.trainer.default_local_dir, exist_ok=True)
    sweep(configs, given.out / "initial")


if __name__ == "__main__":
    main()
