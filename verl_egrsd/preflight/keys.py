"""Checks every key of a configuration against the rules, and against the known keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from fnmatch import fnmatchcase, translate
from functools import cache
from importlib.resources import files
from re import compile as pattern
from typing import Any

import yaml
from hydra.utils import get_class
from omegaconf import DictConfig, ListConfig, OmegaConf

from verl_egrsd.compat import verl_settings
from verl_egrsd.config import flat
from verl_egrsd.preflight.reading import plain
from verl_egrsd.preflight.rules import RULES

OWN = (
    *("algorithm.egrsd.*", "actor_rollout_ref.teacher.*", "report.*", "data.checks.*", "data.egrsd_*"),
    *("scores.*", "hydra.*"),
)
"""Sections of this package, which check their keys themselves, and Hydra's."""

FREE = (
    *("ray_kwargs.*", "transfer_queue.*", "global_profiler.*", "reward.reward_kwargs.*"),
    *("reward.custom_reward_function.reward_kwargs.*", "data.cache_dir", "trainer.wandb_proxy"),
    *("algorithm.gdpo_reward_*", "distillation.teacher_models.*", "trainer.remove_previous_ckpt_in_save"),
    *("actor_rollout_ref.rollout.custom.*", "actor_rollout_ref.actor.fsdp_config.mixed_precision.*"),
    *("actor_rollout_ref.*.fsdp_config.wrap_policy.*", "actor_rollout_ref.ref.fsdp_config.mixed_precision.*"),
)
"""Keys and sections that verl reads although its configuration files lack them."""

STRICT = ("actor", "ref", "rollout", "model")
"""Sections of `actor_rollout_ref` that verl turns into dataclasses, which raise for an unknown key."""


def check_keys(config: DictConfig) -> list[str]:
    """Check every key and value of a configuration against the rules.

    Returns:
        a sentence for each allowed setting that changes what the run is.

    Raises:
        ValueError: for the first setting that is refused, naming key, value and remedy.
    """
    # Interpolations are many and slow: only keys with a rule are resolved.
    values = flat(plain(config, resolve=False))
    named = []
    for rule in RULES:
        for key in filter(pattern(translate(rule.key)).match, values):
            value = OmegaConf.select(config, key)
            value = list(value) if isinstance(value, ListConfig) else value
            if value in rule.neutral or not rule.when(config):
                continue
            if rule.effect == "refused":
                raise ValueError(rule.message(key, value))
            named.append(rule.message(key, value))
    return named + _unknown(values)


def _unknown(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each unknown key; raise for keys at which verl would raise minutes later."""
    sentences = []
    for key, value in values.items():
        if _is_known(key):
            continue
        nearest = get_close_matches(key, _leaves(), n=1, cutoff=0.8)
        remedy = f"remove it, or write {nearest[0]}" if nearest else "remove it"
        sentence = f"{key}={value} is a key that neither verl nor this package reads: {remedy}."
        if key.startswith(tuple(f"actor_rollout_ref.{section}." for section in STRICT)):
            raise ValueError(sentence)
        sentences.append(sentence)
    return sentences


def _is_known(key: str) -> bool:
    parents = [key[:i] for i, letter in enumerate(key) if letter == "."]
    patterns = (*OWN, *FREE, *(rule.key for rule in RULES))
    return (
        not _leaves().isdisjoint((key, *parents))
        or any(fnmatchcase(key, pattern) for pattern in patterns)
        or not _fields().isdisjoint((key, *parents))
    )


@cache
def _leaves() -> frozenset[str]:
    """Return the keys of verl's configuration and of this package's."""
    own = yaml.safe_load((files("verl_egrsd.configs") / "egrsd.yaml").read_text())
    return frozenset(flat(verl_settings())) | frozenset(flat(own)) | {"model_engine"}


@cache
def _fields() -> frozenset[str]:
    """Return the keys of verl's dataclasses that its configuration files lack."""
    classes = {key: name for key, name in flat(verl_settings()).items() if key.endswith("._target_")}
    return frozenset(
        f"{key.removesuffix('_target_')}{field.name}"
        for key, name in classes.items()
        if key.startswith("actor_rollout_ref.")
        for field in fields(get_class(name))
    )
