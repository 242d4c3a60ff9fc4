"""A run's folder carries what people vary: the examples of the README never share one."""

import pytest
from hydra import compose, initialize_config_module

from verl_egrsd.preflight import preflight

EGRSD = ("+preset=egrsd", "+model=qwen3_4b", "+hardware=gpu8")


def named(*overrides):
    with initialize_config_module("verl_egrsd.configs", version_base=None):
        config = compose("egrsd", overrides=list(overrides))
    preflight(config)
    return config.trainer


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (EGRSD, "egrsd_Qwen3-4B_nonthinking_seed0"),
        ((*EGRSD, "data.seed=1"), "egrsd_Qwen3-4B_nonthinking_seed1"),
        (
            (*EGRSD, "data.apply_chat_template_kwargs.enable_thinking=true"),
            "egrsd_Qwen3-4B_thinking_seed0",
        ),
        (("+preset=cl_egrsd", "+model=qwen3_8b", "+hardware=gpu8"), "cl_egrsd_Qwen3-8B_nonthinking_seed0"),
        (("+preset=rlsd", *EGRSD[1:]), "rlsd_Qwen3-4B_nonthinking_seed0"),
        (("+preset=direction", *EGRSD[1:]), "direction_Qwen3-4B_nonthinking_seed0"),
        (("+preset=grpo", *EGRSD[1:]), "grpo_Qwen3-4B_nonthinking_seed0"),
        ((*EGRSD, "actor_rollout_ref.model.path=/models/mine"), "egrsd_mine_nonthinking_seed0"),
        (
            (*EGRSD, "actor_rollout_ref.teacher.template=wrong_solution"),
            "egrsd_wrong_solution_Qwen3-4B_nonthinking_seed0",
        ),
        ((*EGRSD, "actor_rollout_ref.teacher.refresh=ema"), "egrsd_ema_Qwen3-4B_nonthinking_seed0"),
        ((*EGRSD, "algorithm.egrsd.factors=[ratio,tip]"), "egrsd_ratio-tip_Qwen3-4B_nonthinking_seed0"),
        (("+preset=rlsd_published", *EGRSD[1:]), "rlsd_published_Qwen3-4B_nonthinking_seed0"),
        (
            ("+preset=rlsd_published", *EGRSD[1:], "actor_rollout_ref.teacher.refresh=frozen"),
            "rlsd_published_frozen_Qwen3-4B_nonthinking_seed0",
        ),
    ],
)
def test_method_model_thinking_and_seed_name_a_run_and_its_folder(overrides, name):
    trainer = named(*overrides)
    assert trainer.experiment_name == name
    assert trainer.default_local_dir == f"outputs/{name}/checkpoints"


def test_a_name_and_a_folder_of_ones_own_stay():
    trainer = named(*EGRSD, "trainer.experiment_name=mine", "trainer.default_local_dir=/runs/7")
    assert (trainer.experiment_name, trainer.default_local_dir) == ("mine", "/runs/7")
