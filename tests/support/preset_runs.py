"""Train presets of one loss one after another on one start of Ray, two steps each.

Usage: python -m tests.support.preset_runs --out OUT --presets NAME... --set KEY=VALUE...
Every run is in OUT/<preset>; the name `all` is GRPO's advantage times every factor that there is.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from recipes.miniature.sweep import sweep
from recipes.miniature.train import INITIAL
from tests.support.composing import composed
from verl_egrsd.methods import factors, methods

ALL = "all"
OWN_LOSS = ("rlsd_published",)
"""Presets whose loss the processes of the others do not know; each needs a start of its own."""
ROLLOUTS = {"gates": 4, "paced": 1}
"""Rollouts per prompt, if not two: of four, two give the same answer; pass rates of the data need one."""
KEYS = {"paced": ["algorithm.egrsd.pass_rate.source=data"]}


def config_of(preset: str, out: Path, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of one run: 8 rollouts a step, in pairs where the method compares them."""
    every = [f"algorithm.egrsd.factors=[{','.join(factors())}]", "algorithm.egrsd.advantage=group"]
    own = ["+preset=egrsd", *every] if preset == ALL else [f"+preset={preset}", *KEYS.get(preset, ())]
    rollouts = ROLLOUTS.get(preset, 2 if preset == ALL or methods()[preset].needs_group else 1)
    keys = [
        f"trainer.default_local_dir={(out / preset).absolute()}",
        f"data.train_batch_size={8 // rollouts}",
        f"actor_rollout_ref.rollout.n={rollouts}",
        *("trainer.total_training_steps=2", "trainer.save_freq=-1", "trainer.test_freq=-1"),
        # Rollouts of one prompt differ, or a method that compares them would learn nothing.
        "+actor_rollout_ref.rollout.custom={answers:2}",
        *("trainer.val_before_train=false", "trainer.logger=[console]", "trainer.resume_mode=disable"),
    ]
    return composed(*own, "+model=tiny", "+hardware=cpu", *keys, *overrides)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--presets", nargs="+")
    parser.add_argument("--set", nargs="*", default=())
    given = parser.parse_args()
    configs = [config_of(name, given.out, given.set) for name in given.presets]
    for config in configs:
        os.makedirs(config.trainer.default_local_dir, exist_ok=True)
    sweep(configs, (given.out / INITIAL).absolute())


if __name__ == "__main__":
    main()
