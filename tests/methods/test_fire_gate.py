"""FiRe-OPD's weight against values made apart from this package (numpy, float64, from the formula)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.methods.strategies import examples, raw_columns
from verl_egrsd.methods import Columns
from verl_egrsd.methods.fire_gate import FireGate

MASK = torch.arange(3) < torch.tensor([[3], [2]])
TEACHER = torch.tensor([[0.1, 1.2, 0.02], [0.6, 2.5, 9.0]])
STUDENT = torch.tensor([[0.3, 0.9, 1.8], [0.05, 0.6, 9.0]])
# The five tokens with alpha = beta = 1, and with alpha 2 and beta 0.5.
ONE_ONE = [0.9778022730, 0.9749515375, 1.7035995287, 0.7734995629, 0.5701470980]
TWO_HALF = [1.1369899121, 0.9165408669, 1.6087987923, 0.9183380059, 0.4193324228]


DEFAULT = FireGate()


def weights(gate=DEFAULT, teacher=TEACHER, student=STUDENT):
    columns = Columns.of(MASK, teacher_entropy=teacher, student_entropy=student)
    return gate.weights(columns, torch.ones(2, 1))[MASK]


@pytest.mark.parametrize(("alpha", "beta", "expected"), [(1.0, 1.0, ONE_ONE), (2.0, 0.5, TWO_HALF)])
def test_the_weights_are_the_golden_ones(alpha, beta, expected):
    torch.testing.assert_close(weights(FireGate(alpha, beta)), torch.tensor(expected), rtol=0, atol=1e-6)


@examples
@given(raw_columns(), st.floats(0, 50))
def test_the_mean_weight_is_one_and_none_is_negative(raw, strength):
    columns = Columns.of(**raw)
    gate = FireGate(strength, 50 - strength)
    weights = gate.weights(columns, torch.ones(len(columns.rewards), 1))[columns.response_mask]
    assert (weights >= 0).all()
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)


def test_a_sure_teacher_and_an_unsure_student_weigh_most():
    assert weights().argmax() == 2


def test_a_batch_without_any_entropy_weighs_every_token_the_same():
    nothing = torch.zeros(2, 3)
    torch.testing.assert_close(weights(teacher=nothing, student=nothing), torch.ones(5))


def test_alpha_and_beta_zero_switch_it_off():
    assert FireGate(0, 0).off
    assert not FireGate(0, 1).off


@pytest.mark.parametrize(("key", "value"), [("alpha", -1.0), ("beta", -0.5), ("beta", float("inf"))])
def test_a_value_out_of_range_names_the_key(key, value):
    with pytest.raises(ValueError, match=rf"algorithm\.egrsd\.fire_gate\.{key}="):
        FireGate(**{key: value})
