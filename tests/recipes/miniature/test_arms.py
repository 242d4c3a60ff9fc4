"""The arms: each composes, and changes what its title says and nothing else."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from recipes.miniature.arms import ARMS, CLIPPED, CURRENT, SHARED, SUPERVISED, Run, find_arms
from recipes.miniature.questions import QUESTIONS
from recipes.miniature.sweep import require_shared_processes
from recipes.miniature.train import compose_run, read_run
from recipes.miniature.trainings import sft_command
from verl_egrsd.config import flat
from verl_egrsd.methods import methods
from verl_egrsd.preflight import plain, preflight
from verl_egrsd.sft.settings import check_sft

TRAINED = [arm for arm in ARMS.values() if arm.trained and arm.start != SUPERVISED]
CONTROLS = {
    "egrsd": set(),
    "cl_egrsd": {"algorithm.adv_estimator", "algorithm.egrsd.window"},
    "no_reference": {"actor_rollout_ref.teacher.template"},
    "wrong_solution": {"data.train_files"},
    "answer_only": {"actor_rollout_ref.teacher.template"},
    "reflection": {"actor_rollout_ref.teacher.template", "actor_rollout_ref.teacher.max_rollout_tokens"},
    "ema": {"actor_rollout_ref.teacher.refresh", "actor_rollout_ref.teacher.decay"},
    "copy": {"actor_rollout_ref.teacher.refresh", "actor_rollout_ref.teacher.every"},
    "mean_preserving": {"algorithm.egrsd.gate_control"},
    "shuffled": {"algorithm.egrsd.gate_control"},
    "rlsd": {"algorithm.adv_estimator", "algorithm.egrsd.gamma"},
    "correct_only": {"algorithm.adv_estimator", "algorithm.egrsd.factors"},
    "wrong_only": {"algorithm.adv_estimator", "algorithm.egrsd.factors"},
    "grpo": {
        *("algorithm.adv_estimator", "algorithm.egrsd.advantage", "algorithm.egrsd.gamma"),
        *("algorithm.egrsd.clip", "data.train_batch_size", "actor_rollout_ref.rollout.n"),
    },
}
SETTINGS = ("algorithm", "data", "actor_rollout_ref.rollout.n", "actor_rollout_ref.teacher")


PLAIN = [arm for arm in TRAINED if arm.overrides == (f"+preset={arm.name}",) and arm.name not in CONTROLS]
"""Their presets are composed in tests/methods/test_presets.py."""


@pytest.fixture(scope="module")
def configs():
    """The checked configuration of each arm that is more than its preset, and of one per start."""
    needed = [arm for arm in TRAINED if arm not in PLAIN or arm.start != SHARED or arm.name == "sdpo"]
    found = {arm.name: compose_run(Run(arm, 0), Path("runs")) for arm in needed}
    for config in found.values():
        preflight(config)
    return found


@pytest.mark.parametrize("name", CONTROLS)
def test_an_arm_differs_from_egrsd_in_what_its_title_says(configs, name):
    ours, egrsd = (
        {key: value for key, value in flat(plain(configs[arm])).items() if key.startswith(SETTINGS)}
        for arm in (name, "egrsd")
    )
    assert {key for key in ours.keys() & egrsd if ours[key] != egrsd[key]} == CONTROLS[name]


def test_an_arm_of_another_method_has_the_gate_at_its_full_strength(configs):
    low = {"crisp_low", "opsd_low", "sdpo_low", "pw_opsd_low"}
    ungated = {"opsd_unclipped", "opsd_unclipped_position", "sdpo_solution", *low}
    rest = {*configs} - {*CONTROLS} - {arm.name for arm in PLAIN} - ungated
    gated = {"opsd_gated", "opsd_cl_gated", "opsd_unclipped_gated", "opsd_unclipped_cl_gated"}
    assert rest == gated | {"student_entropy", "egrsd_concise", "egrsd_other_solution"}
    for name in rest:
        settings = configs[name].algorithm.egrsd
        section = settings.student_entropy_gate if name == "student_entropy" else settings
        assert section.gamma == 1


def test_the_arms_without_a_clip_have_none_that_an_entry_could_reach(configs):
    unclipped = [name for name in configs if name.startswith("opsd_unclipped")]
    assert unclipped
    assert all(configs[name].algorithm.egrsd.divergence.clip == 1e9 for name in unclipped)


def test_every_arm_sees_as_many_rollouts_per_step(configs):
    for config in configs.values():
        assert config.data.train_batch_size * config.actor_rollout_ref.rollout.n == 32


def test_arms_of_one_start_can_share_their_processes_and_those_of_others_cannot(configs):
    for name in ("sdpo", "opsd_gated", "ema", "rlsd_published", "sdar", "opsd_low"):
        shared = ARMS[name].start == SHARED
        with nullcontext() if shared else pytest.raises(ValueError, match="start them apart"):
            require_shared_processes(configs["egrsd"], configs[name])


@pytest.mark.parametrize("arm", PLAIN, ids=lambda arm: arm.name)
def test_the_start_of_a_preset_goes_by_its_loss_and_by_the_weights_of_its_teacher(arm):
    method = methods()[arm.name]
    current = method.teacher.get("refresh") == "current"
    assert arm.start == (CLIPPED if method.loss != "egrsd" else CURRENT if current else SHARED)


def test_the_supervised_arm_learns_with_the_settings_of_the_others(configs):
    """The command composes, and its keys are those of the trainer (tests/sft runs it)."""
    command = sft_command(Run(ARMS["sft_low"], 3), Path("runs"), 40)
    assert command[1:4] == ["-m", "verl_egrsd.cli", "sft"]
    with initialize_config_module("verl_egrsd.configs.sft", version_base=None):
        config = compose("sft", overrides=command[4:])
    check_sft(config)
    opsd = configs["opsd_gated"]
    assert config.optim.lr == opsd.actor_rollout_ref.actor.optim.lr
    assert config.optim.clip_grad == opsd.actor_rollout_ref.actor.optim.clip_grad
    assert config.model.path == opsd.actor_rollout_ref.model.path
    assert config.model.lora_rank == opsd.actor_rollout_ref.model.lora_rank
    assert config.data.train_files == opsd.data.train_files
    assert config.data.train_batch_size == 32
    assert config.trainer.seed == 3


def test_without_a_name_the_arms_of_the_page_are_measured_and_all_takes_every_arm():
    assert find_arms([]) == [arm for arm in ARMS.values() if not arm.by_name]
    assert find_arms(["all"]) == [*ARMS.values()]
    assert ARMS["sdar"] not in find_arms([])


def test_every_arm_is_asked_about_and_every_question_names_arms():
    asked = {name for question in QUESTIONS for name in (question.arm, question.other)}
    assert asked == ARMS.keys()


def test_a_seed_changes_the_order_of_the_data_and_the_shuffle():
    one, two = (compose_run(Run(ARMS["shuffled"], seed), Path("runs")) for seed in (0, 1))
    assert (one.data.seed, two.data.seed) == (0, 1)
    assert (one.algorithm.egrsd.seed, two.algorithm.egrsd.seed) == (0, 1)


def test_a_run_is_found_by_its_name():
    run = Run(ARMS["cl_egrsd"], 7)
    assert read_run(run.name) == run


def test_an_unknown_arm_and_a_measurement_without_training_are_refused():
    with pytest.raises(ValueError, match="'ppo' is unknown; known arms: untrained, sft, grpo"):
        find_arms(["egrsd", "ppo"])
    with pytest.raises(ValueError, match="untrained: there is nothing to train"):
        find_arms(["untrained"])
    assert [arm.name for arm in find_arms(["egrsd", "untrained"])] == ["untrained", "egrsd"]
