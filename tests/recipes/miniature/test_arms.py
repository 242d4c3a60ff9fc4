"""The arms: each composes, and changes what its title says and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.miniature.arms import ARMS, QUESTIONS, Run, find_arms
from recipes.miniature.train import compose_run, read_run
from verl_egrsd.config import flat
from verl_egrsd.preflight import plain, preflight

TRAINED = [arm for arm in ARMS.values() if arm.trained]
CHANGES = {
    "direction": {"algorithm.adv_estimator", "algorithm.egrsd.factors"},
    "grpo": {
        *("algorithm.adv_estimator", "algorithm.egrsd.advantage", "algorithm.egrsd.gamma"),
        *("algorithm.egrsd.clip", "data.train_batch_size", "actor_rollout_ref.rollout.n"),
    },
    "rlsd": {"algorithm.adv_estimator", "algorithm.egrsd.gamma"},
    "egrsd": set(),
    "cl_egrsd": {"algorithm.adv_estimator", "algorithm.egrsd.window"},
    "no_reference": {"actor_rollout_ref.teacher.template"},
    "wrong_solution": {"data.train_files"},
    "answer_only": {"actor_rollout_ref.teacher.template"},
    "mean_preserving": {"algorithm.egrsd.gate_control"},
    "shuffled": {"algorithm.egrsd.gate_control"},
}
SETTINGS = ("algorithm", "data", "actor_rollout_ref.rollout.n", "actor_rollout_ref.teacher")


@pytest.fixture(scope="module")
def resolved():
    """The settings of each arm that a method can differ in, by dotted name; a factor brings its own."""
    found = {}
    for arm in TRAINED:
        config = compose_run(Run(arm, 0), Path("runs"))
        preflight(config)
        found[arm.name] = {
            key: value for key, value in flat(plain(config)).items() if key.startswith(SETTINGS)
        }
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_an_arm_differs_from_egrsd_in_what_its_title_says(resolved, name):
    ours, egrsd = resolved[name], resolved["egrsd"]
    assert {key for key in ours.keys() & egrsd if ours[key] != egrsd[key]} == CHANGES[name]


def test_every_arm_is_checked_and_sees_as_many_rollouts_per_step(resolved):
    assert resolved.keys() == CHANGES.keys()
    for found in resolved.values():
        assert found["data.train_batch_size"] * found["actor_rollout_ref.rollout.n"] == 32


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
    with pytest.raises(ValueError, match="'ppo' is unknown; known arms: untrained, direction"):
        find_arms(["egrsd", "ppo"])
    with pytest.raises(ValueError, match="untrained: there is nothing to train"):
        find_arms(["untrained"])
    assert [arm.name for arm in find_arms(["egrsd", "untrained"])] == ["untrained", "egrsd"]
