"""Train: `python -m verl_egrsd.main +preset=egrsd +model=qwen3_4b +hardware=gpu8 [key=value ...]`.

Composes `configs/egrsd.yaml` on top of verl's `ppo_trainer`, checks everything that can be checked before
anything starts, and hands over to verl. With `dry_run=true` it prints the resolved configuration instead of
training; it fails where training would. verl's interfaces are checked by the trainer, which imports them
anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

import hydra
from omegaconf import DictConfig, OmegaConf


def check(config: DictConfig) -> None:
    """Validate a composed configuration with verl's own checks and ours, and resolve `algorithm.egrsd`.

    Raises:
        ValueError: naming key, value and remedy.
        ImportError: when verl is not of a tested version, or has not loaded the plug-in.
    """
    if config.trainer.device == "cpu" and os.environ.get("VERL_PLATFORM", "").lower() != "cpu":
        raise ValueError(
            "trainer.device=cpu needs the environment variable VERL_PLATFORM=cpu, set before Python starts."
        )
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from verl_egrsd.compat import assert_registered, check_version
    from verl_egrsd.preflight import preflight

    check_version()
    assert_registered("estimator", "policy loss")
    preflight(config)
    validate_config(
        config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config)
    )


def _or_exit(checks: Callable[[DictConfig], None], config: DictConfig) -> None:
    """Run checks; end the process with their message alone, which Hydra's traceback would bury."""
    # verl prints while it checks; standard output is for the resolved configuration alone.
    with redirect_stdout(sys.stderr):
        try:
            checks(config)
        except (ValueError, ImportError, AssertionError) as error:
            # verl's own checks are assertions.
            sys.exit(f"verl_egrsd: {error}")


@hydra.main(config_path="configs", config_name="egrsd", version_base=None)
def main(config: DictConfig) -> None:
    """Check, then train or, with `dry_run=true`, print."""
    from verl_egrsd.preflight import check_files

    if not isinstance(config.dry_run, bool):
        sys.exit(f"verl_egrsd: dry_run={config.dry_run} is not allowed: it must be true or false.")
    _or_exit(check, config)
    if config.dry_run:
        print(OmegaConf.to_yaml(config, resolve=True), end="", flush=True)
    _or_exit(check_files, config)
    if config.dry_run:
        return
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
    from verl.utils.device import auto_set_device

    auto_set_device(config)
    run_ppo(config, task_runner_class=TaskRunnerV1)


if __name__ == "__main__":
    main()
