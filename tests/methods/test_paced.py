"""PACED's weight, against values computed in float64 without this package."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.pass_rate import PassRate

CORRECT_OF_EIGHT = [0, 1, 2, 4, 6, 7, 8]
ONE = torch.ones(1, 1)
OF_DATA = {"pass_rate": {"source": "data"}}


def columns(solved: list[int], n: int = 8) -> Columns:
    """Return n rollouts for each prompt, `solved` of them correct, prompt after prompt in turn."""
    correct = torch.tensor([[rollout < count for count in solved] for rollout in range(n)]).flatten()
    problems = torch.arange(len(solved)).repeat(n)
    return Columns.of(torch.ones(len(correct), 2), correct=correct, problems=problems)


@pytest.mark.parametrize(
    ("alpha", "golden"),
    [
        (1.0, [0.0, 0.109375, 0.1875, 0.25, 0.1875, 0.109375, 0.0]),
        (2.0, [0.0, 0.013671875, 0.046875, 0.125, 0.140625, 0.095703125, 0.0]),
    ],
)
def test_the_weight_is_that_of_the_definition(alpha, golden):
    weights = PassRate(alpha=alpha).weights(columns(CORRECT_OF_EIGHT), ONE)
    torch.testing.assert_close(weights.squeeze(1), torch.tensor(golden * 8))


@pytest.mark.parametrize(
    ("alpha", "golden"),
    [
        (1.0, [0.0, 0.109375, 0.1875, 0.25, 0.1875, 0.109375, 0.0]),
        (2.0, [0.0, 0.013671875, 0.046875, 0.125, 0.140625, 0.095703125, 0.0]),
    ],
)
def test_one_rollout_of_a_prompt_is_weighed_by_the_pass_rate_of_the_data(alpha, golden):
    rates = torch.tensor(CORRECT_OF_EIGHT, dtype=torch.float64) / 8
    read = Columns.of(torch.ones(7, 2), pass_rate=rates)
    factor = PassRate(alpha=alpha, source="data")
    weights = factor.weights(read, ONE)
    torch.testing.assert_close(weights, torch.tensor(golden).unsqueeze(1))
    assert factor.metrics(read, weights.expand(7, 2))["share_zero"] == pytest.approx(2 / 7)


def test_by_default_the_rollouts_are_counted_whatever_the_data_says():
    read = columns(CORRECT_OF_EIGHT)
    exact = [count / 8 * (1 - count / 8) for count in CORRECT_OF_EIGHT]
    of_data = replace(read, pass_rate=torch.full((56,), 0.5))
    assert PassRate().weights(of_data, ONE).squeeze(1).tolist() == exact * 8
    assert PassRate().reads == {"problems", "correct"}


def test_the_pass_rates_of_the_data_are_declared_before_they_are_read():
    assert PassRate(source="data").reads == {"pass_rate"}
    with pytest.raises(KeyError, match="pass_rate was not fetched"):
        PassRate(source="data").weights(columns([4]), ONE)
    with pytest.raises(ValueError, match=r"pass_rate has shape \(3,\) but rows has shape \(2,\)"):
        Columns.of(torch.ones(2, 1), pass_rate=torch.ones(3))


def test_credit_is_the_log_ratio_times_the_weight_whatever_the_reward():
    method = methods()["paced"]
    read = Columns.of(
        torch.ones(2, 1),
        rewards=torch.tensor([1.5, 0.0]),
        correct=torch.tensor([True, False]),
        problems=torch.tensor([7, 7]),
        student_log_prob=torch.tensor([[-1.0], [-1.0]]),
        teacher_log_prob=torch.tensor([[-0.2], [-3.0]]),
    )
    advantages = method.advantage.start().advantages(read).unsqueeze(1)
    credit = method.credit(read, advantages).credit
    torch.testing.assert_close(credit, torch.tensor([[0.25 * 0.8], [0.25 * -2.0]]))


def test_normalised_weights_have_the_mean_one_over_the_rollouts():
    weights = PassRate(normalise="mean").weights(columns([1, 4, 8]), ONE).squeeze(1)
    assert weights.mean() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(0.25 / 0.109375)


@pytest.mark.parametrize("normalise", ["none", "mean"])
def test_a_step_without_a_prompt_at_the_frontier_has_no_credit_and_says_so(normalise):
    factor, read = PassRate(normalise=normalise), columns([0, 8, 0])
    assert not factor.weights(read, ONE).any()
    assert factor.metrics(read, torch.zeros(24, 2))["share_zero"] == 1


def test_it_needs_several_rollouts_of_a_prompt():
    assert methods()["paced"].needs_group


@pytest.mark.parametrize(
    ("name", "needs_group"), [("paced", False), ("paced_divergence", False), ("ssopd", True)]
)
def test_with_the_pass_rate_of_the_data_it_does_not_unless_another_part_does(name, needs_group):
    assert resolve(name, OF_DATA, max_response_length=1).needs_group is needs_group


@pytest.mark.parametrize(
    ("key", "value"), [("alpha", 0.0), ("beta", -1.0), ("normalise", "max"), ("source", "file")]
)
def test_a_value_out_of_range_is_refused_by_its_key(key, value):
    with pytest.raises(ValueError, match=f"algorithm.egrsd.pass_rate.{key}={value!r} is not allowed"):
        resolve("paced", {"pass_rate": {key: value}}, max_response_length=1)
