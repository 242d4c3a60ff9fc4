"""Files, models and functions that a configuration names. One error lists all that are missing."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from verl_egrsd.checkpoints.places import Adapter, HubId, SavedStep, config_file, find_place, step_number
from verl_egrsd.preflight.model_code import code_of_model
from verl_egrsd.preflight.pass_rates import check_pass_rates
from verl_egrsd.preflight.reading import file_list, plain
from verl_egrsd.preflight.refresh import adapter_problems

logger = logging.getLogger(__name__)

REMOTE = ("hdfs://", "s3://", "gs://")
"""Prefixes of paths that verl downloads; they cannot be checked here."""

SUFFIXES = (".parquet", ".json", ".jsonl")
MAKE_DATA = "python -m data_prep.openthoughts --source siyanzhao/Openthoughts_math_30k_opsd --out"


def check_files(config: DictConfig) -> None:
    """Look up everything that the configuration names. A hub id that is not in the cache only gives a
    warning.

    Raises:
        ValueError: with one line for each missing file, model or function, and the remedy; for a training row
            without the pass rate that the method reads.
    """
    _refuse_all(
        [
            *_data(config, "train_files", "val_files"),
            *_model("actor_rollout_ref.model.path", config.actor_rollout_ref.model.path),
            *code_of_model(config),
            *adapter_problems(config),
            *_reward(config),
            *_resumed(config),
        ]
    )
    check_pass_rates(config)


def check_sft_files(config: DictConfig) -> None:
    """Look up what a configuration of supervised training names; errors as :func:`check_files`."""
    files = ("train_files", "val_files") if config.data.val_files else ("train_files",)
    missing = _data(config, *files, suffixes=SUFFIXES[:1], local=True)
    _refuse_all([*missing, *_model("model.path", config.model.path), *_resumed(config)])


def _refuse_all(missing: Sequence[str]) -> None:
    if missing:
        raise ValueError("\n".join(missing))


def _data(
    config: DictConfig, *keys: str, suffixes: Sequence[str] = SUFFIXES, local: bool = False
) -> Iterator[str]:
    """Yield what is missing of the data; files elsewhere are verl's to fetch, unless all must be local."""
    for key in keys:
        given = config.data[key]
        paths = file_list(given)
        if not paths:
            yield f"data.{key}={given} does not name a file: set it to a parquet file."
        for path in filter(lambda path: local or not path.startswith(REMOTE), paths):
            if not path.endswith(tuple(suffixes)):
                yield f"data.{key}={path} is not a file that verl reads: use {', '.join(suffixes)}."
            elif not Path(path).is_file():
                yield (
                    f"data.{key}={path} does not exist: make it ({MAKE_DATA} {Path(path).parent} "
                    "--benchmarks data/benchmarks --tokenizer MODEL), or name your own file."
                )


def _model(key: str, path: str) -> Iterator[str]:
    if path.startswith(REMOTE):
        return
    said = f"{key}={path}"
    try:
        place = find_place(path)
    except FileNotFoundError:
        what = "is a folder without config.json" if Path(path).is_dir() else "does not exist"
        yield f"{said} {what}: name a model's folder, or a hub id such as Qwen/Qwen3-4B."
        return
    if isinstance(place, Adapter):
        yield f"{said} is a LoRA adapter: name the model that it was trained from ({place.base_model})."
    elif isinstance(place, SavedStep):
        yield (
            f"{said} is a checkpoint: name its exported model (verl-egrsd export {path} --out DIR), or "
            "resume from it (trainer.resume_mode=resume_path, trainer.resume_from_path)."
        )
    elif isinstance(place, HubId) and not config_file(path):
        logger.warning(
            "%s is neither a folder here nor in the hub's cache. Fetch it: hf download %s", *(said, path)
        )


def _reward(config: DictConfig) -> Iterator[str]:
    function = config.reward.custom_reward_function
    if function.path is None:
        return
    from verl.utils.import_utils import load_extern_object

    settings = plain(function.get("reward_kwargs"))
    try:
        loaded = load_extern_object(module_path=function.path, object_name=function.name)
        _call_shape(loaded).bind(**{name: None for name in REWARD_ARGUMENTS} | settings)
    except (AttributeError, ImportError, OSError, RuntimeError, TypeError, SyntaxError) as error:
        yield (
            f"reward.custom_reward_function.path={function.path} with name={function.name} gives no function "
            f"that verl can call: {error}. Set the two to a file (or pkg://module) and a function in it that "
            f"takes {', '.join((*REWARD_ARGUMENTS, *settings))}."
        )


REWARD_ARGUMENTS = ("data_source", "solution_str", "ground_truth", "extra_info")


def _call_shape(function: Any) -> inspect.Signature:
    if not callable(function):
        raise TypeError(f"{function!r} is not a function")
    return inspect.signature(partial(function))


def _resumed(config: DictConfig) -> Iterator[str]:
    trainer = config.trainer
    if trainer.resume_mode == "resume_path" and step_number(trainer.resume_from_path) is None:
        yield (
            f"trainer.resume_from_path={trainer.resume_from_path} does not exist: name a folder "
            "global_step_N of a run."
        )
