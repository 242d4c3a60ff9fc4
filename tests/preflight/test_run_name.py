"""A run's folder carries what people vary: the examples of the README never share one."""

import pytest

from tests.support.composing import PAPER, composed
from verl_egrsd.preflight import preflight


def named(*overrides):
    config = composed(*overrides)
    preflight(config)
    return config.trainer


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (PAPER, "egrsd_Qwen3-4B_nonthinking_seed0"),
        ((*PAPER, "data.seed=1"), "egrsd_Qwen3-4B_nonthinking_seed1"),
        (
            (*PAPER, "data.apply_chat_template_kwargs.enable_thinking=true"),
            "egrsd_Qwen3-4B_thinking_seed0",
        ),
        (("+preset=cl_egrsd", "+model=qwen3_8b", "+hardware=gpu8"), "cl_egrsd_Qwen3-8B_nonthinking_seed0"),
        (("+preset=rlsd", *PAPER[1:]), "rlsd_Qwen3-4B_nonthinking_seed0"),
        (("+preset=direction", *PAPER[1:]), "direction_Qwen3-4B_nonthinking_seed0"),
        (("+preset=grpo", *PAPER[1:]), "grpo_Qwen3-4B_nonthinking_seed0"),
        ((*PAPER, "actor_rollout_ref.model.path=/models/mine"), "egrsd_mine_nonthinking_seed0"),
        (
            (*PAPER, "actor_rollout_ref.teacher.template=wrong_solution"),
            "egrsd_wrong_solution_Qwen3-4B_nonthinking_seed0",
        ),
        (
            ("+preset=ogls_sd", *PAPER[1:], "actor_rollout_ref.teacher.steering=0"),
            "ogls_sd_steering0_Qwen3-4B_nonthinking_seed0",
        ),
        ((*PAPER, "actor_rollout_ref.teacher.refresh=ema"), "egrsd_ema_Qwen3-4B_nonthinking_seed0"),
        ((*PAPER, "algorithm.egrsd.factors=[ratio,tip]"), "egrsd_ratio-tip_Qwen3-4B_nonthinking_seed0"),
        (("+preset=rlsd_published", *PAPER[1:]), "rlsd_published_Qwen3-4B_nonthinking_seed0"),
        (
            ("+preset=rlsd_published", *PAPER[1:], "actor_rollout_ref.teacher.refresh=frozen"),
            "rlsd_published_frozen_Qwen3-4B_nonthinking_seed0",
        ),
    ],
)
def test_method_model_thinking_and_seed_name_a_run_and_its_folder(overrides, name):
    trainer = named(*overrides)
    assert trainer.experiment_name == name
    assert trainer.default_local_dir == f"outputs/{name}/checkpoints"


def test_a_name_and_a_folder_of_ones_own_stay():
    trainer = named(*PAPER, "trainer.experiment_name=mine", "trainer.default_local_dir=/runs/7")
    assert (trainer.experiment_name, trainer.default_local_dir) == ("mine", "/runs/7")
