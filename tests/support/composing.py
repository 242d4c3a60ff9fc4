"""The package's configurations as Hydra composes them, which reads its files once for equal presets."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

import verl_egrsd.configs

PAPER = ("+preset=egrsd", "+model=qwen3_4b", "+hardware=gpu8")
"""The paper's settings."""
FOLDER = Path(verl_egrsd.configs.__path__[0])


def composed(*overrides: str) -> DictConfig:
    """Return what `verl-egrsd train` composes of these overrides; the caller may change it."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    presets = [override for override in parsed if (FOLDER / override.key_or_group).is_dir()]
    config = deepcopy(_of_presets(*(str(override.input_line) for override in presets)))
    # Hydra too applies the values last.
    ConfigLoaderImpl._apply_overrides_to_config([one for one in parsed if one not in presets], config)
    return config


@cache
def _of_presets(*presets: str) -> DictConfig:
    with initialize_config_module("verl_egrsd.configs", version_base=None):
        return compose("egrsd", overrides=list(presets))
