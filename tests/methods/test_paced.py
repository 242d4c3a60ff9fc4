"""PACED's weight, against values computed in float64 without this package."""

from __future__ import annotations

import pytest
import torch

from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.pass_rate import PassRate

CORRECT_OF_EIGHT = [0, 1, 2, 4, 6, 7, 8]
ONE = torch.ones(1, 1)


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


@pytest.mark.parametrize(("key", "value"), [("alpha", 0.0), ("beta", -1.0), ("normalise", "max")])
def test_a_value_out_of_range_is_refused_by_its_key(key, value):
    with pytest.raises(ValueError, match=f"algorithm.egrsd.pass_rate.{key}={value!r} is not allowed"):
        resolve("paced", {"pass_rate": {key: value}}, max_response_length=1)
