"""The control whose advantage is the same for every rollout."""

from __future__ import annotations

import pytest
import torch

from verl_egrsd.credit import policy_loss
from verl_egrsd.methods import Columns, Method, methods, resolve

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


def credit(method: Method, **token_columns: torch.Tensor) -> torch.Tensor:
    columns = Columns.of(MASK, rewards=torch.tensor([1.5, 0.0]), **token_columns)
    advantages = method.advantage.start().advantages(columns).unsqueeze(1)
    return method.credit(columns, advantages).credit


def test_every_response_token_has_the_credit_minus_one_whatever_was_earned():
    assert credit(methods()["constant_negative"]).tolist() == [[-1, -1, -1], [-1, -1, 0]]


def test_the_loss_is_the_mean_log_prob_of_what_was_sampled():
    log_prob = torch.tensor([[-0.5, -1.0, -0.1], [-2.0, -0.4, 0.0]], requires_grad=True)
    loss = policy_loss(log_prob, credit(methods()["constant_negative"]), MASK)
    loss.backward()
    assert loss.item() == pytest.approx(-4.0 / 5)
    torch.testing.assert_close(log_prob.grad, MASK / 5)


def test_it_needs_no_teacher_and_one_rollout_of_a_prompt():
    method = methods()["constant_negative"]
    assert not method.uses_teacher
    assert not method.needs_group


def test_the_likelihood_ratio_pushes_harder_on_what_the_teacher_finds_less_likely():
    method = resolve("constant_negative", {"factors": ["ratio"]}, max_response_length=3)
    student = torch.full((2, 3), -1.0)
    teacher = torch.tensor([[-1.1, -0.9, -5.0], [-1.0, -0.1, 0.0]])
    found = credit(method, student_log_prob=student, teacher_log_prob=teacher)
    up, down = torch.tensor([0.1, -0.1]).exp().tolist()
    torch.testing.assert_close(found, -torch.tensor([[up, down, 1.2], [1.0, 0.8, 0.0]]))


@pytest.mark.parametrize("value", [0.0, float("inf"), "low"])
def test_an_advantage_that_teaches_nothing_is_refused_by_its_key(value):
    with pytest.raises(ValueError, match=f"algorithm.egrsd.constant.value={value!r} is not allowed"):
        resolve("constant_negative", {"constant": {"value": value}}, max_response_length=1)
