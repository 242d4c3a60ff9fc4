"""The arms that learn from one kind of rollouts."""

from __future__ import annotations

import pytest
import torch

from verl_egrsd.methods import Columns, methods, resolve

CORRECT = torch.tensor([True, False, True, False])
ADVANTAGES = torch.tensor([[0.8], [-0.5], [-0.1], [-0.5]])


def columns(correct: torch.Tensor = CORRECT) -> Columns:
    numbers = torch.Generator().manual_seed(0)
    student, teacher, entropy = (torch.rand(4, 5, generator=numbers) for _ in range(3))
    return Columns.of(
        torch.ones(4, 5),
        correct=correct,
        student_log_prob=-student,
        teacher_log_prob=-teacher,
        teacher_entropy=entropy,
    )


@pytest.mark.parametrize(("name", "kept"), [("correct_only", CORRECT), ("wrong_only", ~CORRECT)])
def test_kept_rollouts_have_the_credit_of_egrsd_and_the_others_none(name, kept):
    credit = methods()[name].credit(columns(), ADVANTAGES).credit
    egrsd = methods()["egrsd"].credit(columns(), ADVANTAGES).credit
    assert torch.equal(credit[kept], egrsd[kept])
    assert credit[~kept].eq(0).all()
    assert egrsd.ne(0).all()


def test_a_step_without_a_correct_rollout_has_no_credit_and_no_error():
    method = methods()["correct_only"]
    credited = method.credit(columns(torch.zeros(4, dtype=torch.bool)), ADVANTAGES)
    assert not credited.credit.any()
    assert not credited.weights["outcome"].any()


def test_one_rollout_of_a_prompt_is_enough():
    assert not methods()["correct_only"].needs_group


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("correct_only", "wrong", "outcome.keep=wrong contradicts algorithm.adv_estimator=correct_only"),
        ("wrong_only", "correct", "outcome.keep=correct contradicts algorithm.adv_estimator=wrong_only"),
        ("wrong_only", "none", "outcome.keep='none' is not allowed: it must be one of correct, wrong"),
    ],
)
def test_a_method_keeps_what_its_name_says(name, keep, message):
    with pytest.raises(ValueError, match=f"algorithm.egrsd.{message}"):
        resolve(name, {"outcome": {"keep": keep}}, max_response_length=1)
