"""SDAR's gate against the gradient of SDAR's own loss, which stands in its paper and in ms-swift."""

import pytest
import torch

from verl_egrsd.credit import policy_loss
from verl_egrsd.methods import Columns, Method, methods
from verl_egrsd.methods.sdar import Sdar

MASK = torch.arange(4) < torch.tensor([[4], [3]])
STUDENT = torch.tensor([[-0.1, -2.0, -0.7, -1.5], [-0.5, -3.0, -0.2, 0.0]])
TEACHER = torch.tensor([[-0.3, -1.0, -0.7, -4.0], [-0.1, -3.2, -0.9, 0.0]])
COLUMNS = Columns.of(MASK, student_log_prob=STUDENT, teacher_log_prob=TEACHER)
COEF, GATE_BETA = 0.1, 5.0


def gradient_of_sdars_loss(advantages):
    """GRPO's loss of one update on fresh rollouts, and the gated log-ratio beside it."""
    log_prob = STUDENT.clone().requires_grad_()
    gate = torch.sigmoid(GATE_BETA * (TEACHER - STUDENT))
    per_token = -advantages * log_prob + COEF * gate * (TEACHER - log_prob)
    (per_token * MASK).sum().div(MASK.sum()).backward()
    return log_prob.grad


def gradient_of_our_loss(advantages, method):
    log_prob = STUDENT.clone().requires_grad_()
    policy_loss(log_prob, method.credit(COLUMNS, advantages).credit, MASK).backward()
    return log_prob.grad


@pytest.mark.parametrize("advantages", [[1.0, -1.0], [-1.0, 1.0]])
def test_with_an_advantage_of_one_it_is_sdars_own_gradient(advantages):
    advantages = torch.tensor(advantages).unsqueeze(1)
    method = Method("alone", "", (Sdar(coef=COEF, gate_beta=GATE_BETA),))
    torch.testing.assert_close(gradient_of_our_loss(advantages, method), gradient_of_sdars_loss(advantages))


def test_the_distillation_grows_with_the_size_of_the_advantage_and_vanishes_with_it():
    sdar = Sdar(coef=0.5)
    advantages = torch.tensor([[3.0], [0.0]])
    weights = sdar.weights(COLUMNS, advantages)
    torch.testing.assert_close(3.0 * weights[0], 3.0 + 0.5 * 3.0 * sdar.gate(COLUMNS)[0])
    assert (weights[1] == 1).all()


def test_the_gate_is_half_open_where_teacher_and_student_agree():
    gate = Sdar().gate(COLUMNS)
    assert gate[0, 2] == 0.5
    assert gate[0, 1] == pytest.approx(0.9933071, abs=1e-6)
    assert gate[0, 3] < 1e-5


def test_the_advantage_never_changes_its_sign():
    weights = Sdar(coef=1.0).weights(COLUMNS, torch.tensor([[-1.0], [1.0]]))
    assert ((weights >= 0) & (weights <= 2)).all()


def test_the_advantage_is_that_of_grpo_and_the_teacher_has_the_current_weights():
    assert methods()["sdar"].advantage.name == "group"
    assert methods()["sdar"].reward.length_beta == 0
    assert methods()["sdar"].needs_group
    assert methods()["sdar"].teacher == {"refresh": "current"}


@pytest.mark.parametrize(
    ("key", "value"), [("coef", -0.1), ("coef", 1.5), ("gate_beta", 0), ("gate_beta", float("inf"))]
)
def test_a_value_out_of_range_names_the_key(key, value):
    with pytest.raises(ValueError, match=rf"algorithm\.egrsd\.sdar\.{key}="):
        Sdar(**{key: value})


def test_coef_zero_switches_it_off():
    assert Sdar(coef=0).off
    assert not Sdar().off
