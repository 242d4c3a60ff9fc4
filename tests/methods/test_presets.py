"""Every method of the table has a preset of its name, which passes the checks before a start."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

import verl_egrsd.configs
from tests.support.composing import composed
from verl_egrsd.methods.table import TABLE
from verl_egrsd.preflight import preflight

PRESETS = Path(verl_egrsd.configs.__path__[0]) / "preset"


@pytest.fixture(scope="module")
def without_preset() -> DictConfig:
    return composed("+model=qwen3_4b", "+hardware=gpu8")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_method_has_a_preset_that_resolves_to_it(row, without_preset):
    text = (PRESETS / f"{row.name}.yaml").read_text()
    assert text.startswith("# @package _global_\n")
    preset = OmegaConf.create(text)
    assert preset.algorithm == {"adv_estimator": row.name}, "the numbers have their home in the table"
    config = copy.deepcopy(without_preset)
    with open_dict(config):
        config.merge_with(preset)
    method, _ = preflight(config)
    assert method.name == row.name
    assert [type(factor) for factor in method.factors] == [type(factor) for factor in row.factors]
    assert config.actor_rollout_ref.actor.policy_loss.loss_mode == row.loss
    rollouts = config.actor_rollout_ref.rollout.n
    assert (rollouts > 1) == method.needs_group
    assert config.data.train_batch_size * rollouts == 32
