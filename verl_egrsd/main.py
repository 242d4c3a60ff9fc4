"""Train: `python -m verl_egrsd.main preset=egrsd model=qwen3_4b hardware=gpu8 [key=value ...]`.

Composes `configs/egrsd.yaml` on top of verl's `ppo_trainer`, checks everything that can be checked before
anything starts, and hands over to verl. With `dry_run=true` it prints the resolved configuration instead of
training; it fails where a setting or a file would be refused. verl's interfaces are checked by the trainer,
which imports them anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, TypeVar

import hydra
from omegaconf import DictConfig, OmegaConf

from verl_egrsd.network import ask_for_token
from verl_egrsd.output.redaction import redacted, scrubbed_output
from verl_egrsd.processes import ended_by_signals
from verl_egrsd.watch.cluster import require_cluster, require_cluster_of

if TYPE_CHECKING:
    from verl_egrsd.checkpoints.resume import Start
    from verl_egrsd.config import TeacherConfig
    from verl_egrsd.methods import Method

Given = TypeVar("Given")
Found = TypeVar("Found")


def check(config: DictConfig) -> tuple[Method, TeacherConfig]:
    """Validate a composed configuration with verl's own checks and ours, and resolve `algorithm.egrsd`.

    Returns:
        the method and the settings of the teacher.

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
    from verl_egrsd.network import warn_of_network
    from verl_egrsd.preflight import preflight
    from verl_egrsd.preflight.rollout_sync import as_verl_can_check

    check_version()
    assert_registered("estimator", "policy loss")
    settled = preflight(config)
    warn_of_network(config)
    validate_config(
        as_verl_can_check(config),
        use_reference_policy=need_reference_policy(config),
        use_critic=need_critic(config),
    )
    return settled


def checked_or_exit(checks: Callable[[Given], Found], given: Given) -> Found:
    """Run checks; end the process with their message alone, which Hydra's traceback would bury."""
    # verl prints while it checks; standard output is for the resolved configuration alone.
    with redirect_stdout(sys.stderr):
        try:
            return checks(given)
        except (ValueError, ImportError, AssertionError, OSError) as error:
            # verl's own checks are assertions.
            sys.exit(f"verl_egrsd: {error}")


def checked_start(
    config: DictConfig,
    checks: Callable[[DictConfig], object],
    check_files: Callable[[DictConfig], object],
    held: ExitStack,
) -> Start | None:
    """Check a configuration and the files that it names; end the process where they cannot work.

    Args:
        config: the composed configuration.
        checks: checks of the settings.
        check_files: checks of the files.
        held: takes the locks of the run's folders.

    Returns:
        where the run starts; None with `dry_run=true`, which prints the resolved configuration instead.
    """
    from verl_egrsd.checkpoints.resume import settle_start
    from verl_egrsd.output.run_folders import hold_output, require_output

    if not isinstance(config.dry_run, bool):
        sys.exit(f"verl_egrsd: dry_run={config.dry_run} is not allowed: it must be true or false.")
    # Before the checks, which take seconds; but these name the run and its folder if the user does not.
    named = config.trainer.experiment_name is not None
    if named and not config.dry_run:
        held.enter_context(checked_or_exit(hold_output, config))
    checked_or_exit(checks, config)
    if config.dry_run:
        shown = redacted(OmegaConf.to_container(config, resolve=True))
        print(OmegaConf.to_yaml(OmegaConf.create(shown)), end="", flush=True)
        checked_or_exit(require_output, config)
    elif not named:
        held.enter_context(checked_or_exit(hold_output, config))
    checked_or_exit(check_files, config)
    start = checked_or_exit(settle_start, config)
    return None if config.dry_run else start


CONFIGS = "verl_egrsd.configs"


def main() -> None:
    """Compose the configuration of this command line; check, then train or, with `dry_run=true`, print."""
    ask_for_token()
    with ended_by_signals("verl_egrsd"):
        if not _for_hydra(words := sys.argv[1:]):
            checked_or_exit(require_cluster_of, words)
        composed_for(check_and_train, CONFIGS, "egrsd", _with_flags_of_hydra)


def composed_for(
    run: Callable[[DictConfig], None], module: str, name: str, with_flags: Callable[[], None]
) -> None:
    """Run something with the configuration that this process's arguments compose to.

    Args:
        run: what to do with it.
        module: package of the yaml files.
        name: of the main file.
        with_flags: what to do in place of all this if an argument is for Hydra itself, such as `--help`.
    """
    from verl_egrsd.configs.composing import composed, with_plus

    words = sys.argv[1:]
    if _for_hydra(words):
        sys.argv[1:] = with_plus(module, words)
        with_flags()
        return
    try:
        config = composed(module, name, words)
    except ValueError as error:
        sys.exit(f"verl_egrsd: {error}")
    run(config)


def _for_hydra(words: Sequence[str]) -> bool:
    return any(word.startswith(("-", "hydra.", "hydra/", "+hydra")) for word in words)


def require_model(config: DictConfig) -> None:
    """Refuse a command line that names no model.

    Raises:
        ValueError: with the ways to name one.
    """
    from verl_egrsd.preflight.reading import model_key, model_section

    key = model_key(config)
    if not model_section(config).path:
        preset = "base=qwen3_4b with preset=sft" if key == "model" else "model=qwen3_4b with preset=egrsd"
        raise ValueError(
            f"no model is named: set {key}.path to a folder or a hub id, or choose a preset, such as "
            f"{preset} and hardware=gpu8."
        )


@hydra.main(config_path="configs", config_name="egrsd", version_base=None)
def _with_flags_of_hydra(config: DictConfig) -> None:
    check_and_train(config)


def check_and_train(config: DictConfig) -> None:
    """Check, then train or, with `dry_run=true`, print."""
    from verl_egrsd.checkpoints.resume import nothing_to_do
    from verl_egrsd.preflight import check_files
    from verl_egrsd.preflight.attention import require_attention
    from verl_egrsd.preflight.machine import require_gpus
    from verl_egrsd.watch.ports import require_free_ports

    checked_or_exit(require_model, config)
    with ExitStack() as held:
        if config.dry_run is False:
            checked_or_exit(require_cluster, config)
            checked_or_exit(require_free_ports, config)
            checked_or_exit(require_gpus, config)
            checked_or_exit(require_attention, config)
        start = checked_start(config, check, check_files, held)
        if start is None:
            return
        done = nothing_to_do(start, config.trainer.total_training_steps)
        if done and not config.trainer.val_only:
            print(f"verl_egrsd: {done}")
            return
        train(config)


def train(config: DictConfig) -> None:
    """Train with verl; the last line says how a run ended that did not reach its last step."""
    from verl.utils.device import auto_set_device

    from verl_egrsd.network import secure_network
    from verl_egrsd.watch.driver import run_watched

    auto_set_device(config)
    secure_network(config)
    with scrubbed_output(OmegaConf.to_container(config, resolve=True)):
        run_watched(config)


if __name__ == "__main__":
    main()
