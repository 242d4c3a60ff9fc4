"""Files, models and functions that a configuration names: what is missing, all of it at once."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from verl_egrsd.preflight.lengths import config_file
from verl_egrsd.preflight.reading import plain

logger = logging.getLogger(__name__)

REMOTE = ("hdfs://", "s3://", "gs://")
"""Paths that verl fetches itself, which nobody here can look up."""

SUFFIXES = (".parquet", ".json", ".jsonl")
HUB_ID = re.compile(r"(?![.~/])[\w.-]+(/[\w.-]+)?")
MAKE_DATA = "python -m data_prep.openthoughts --source siyanzhao/Openthoughts_math_30k_opsd --out"


def check_files(config: DictConfig) -> None:
    """Look up everything that the configuration names. A hub id that is not in the cache is only named.

    Raises:
        ValueError: with one line for each thing that is missing, and the remedy.
    """
    missing = [*_data(config), *_model(config), *_reward(config), *_resumed(config)]
    if missing:
        raise ValueError("\n".join(missing))


def _data(config: DictConfig) -> Iterator[str]:
    for key in ("train_files", "val_files"):
        given = config.data[key]
        paths = [given] if isinstance(given, str) else list(given or [])
        if not paths:
            yield f"data.{key}={given} names no file: set it to a parquet file."
        for path in filter(lambda path: not path.startswith(REMOTE), paths):
            if not path.endswith(SUFFIXES):
                yield f"data.{key}={path} is not a file that verl reads: use {', '.join(SUFFIXES)}."
            elif not Path(path).is_file():
                yield (
                    f"data.{key}={path} does not exist: make it ({MAKE_DATA} {Path(path).parent}), or name "
                    "your own file."
                )


def _model(config: DictConfig) -> Iterator[str]:
    path = config.actor_rollout_ref.model.path
    folder = Path(path)
    if path.startswith(REMOTE) or config_file(path):
        return
    if folder.is_dir():
        yield f"actor_rollout_ref.model.path={path} is a folder without config.json: name a model's folder."
    elif HUB_ID.fullmatch(path):
        logger.warning(
            "actor_rollout_ref.model.path=%s is neither a folder here nor in the hub's cache. Fetch it: hf "
            "download %s",
            *(path, path),
        )
    else:
        yield (
            f"actor_rollout_ref.model.path={path} does not exist: name a model's folder, or a hub id such as "
            "Qwen/Qwen3-4B."
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
    if trainer.resume_mode == "resume_path" and not Path(trainer.resume_from_path).is_dir():
        yield (
            f"trainer.resume_from_path={trainer.resume_from_path} does not exist: name a folder "
            "global_step_N of a run."
        )
