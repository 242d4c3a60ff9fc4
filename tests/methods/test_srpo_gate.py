"""SRPO's weight against values made apart from this package (numpy, float64, from the paper's formula)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.methods.strategies import examples, raw_columns
from verl_egrsd.methods import Columns
from verl_egrsd.methods.srpo_gate import SrpoGate

MASK = torch.arange(3) < torch.tensor([[3], [2]])
ENTROPY = torch.tensor([[0.1, 1.2, 0.02], [0.6, 2.5, 9.0]])
# exp(-H) / mean exp(-H) of the five tokens, and the same with beta 2.
ONE = [1.6059578392, 0.5345769263, 1.7397133585, 0.9740626677, 0.1456892082]
TWO = [1.8794002274, 0.2082434810, 2.2054965978, 0.6913927054, 0.0154669885]


def weights(entropy=ENTROPY, beta=1.0):
    return SrpoGate(beta).weights(Columns.of(MASK, teacher_entropy=entropy), torch.ones(2, 1))[MASK]


@pytest.mark.parametrize(("beta", "expected"), [(1.0, ONE), (2.0, TWO)])
def test_the_weights_are_the_golden_ones(beta, expected):
    torch.testing.assert_close(weights(beta=beta), torch.tensor(expected), rtol=0, atol=1e-6)


@examples
@given(raw_columns(), st.floats(0, 50))
def test_the_mean_weight_is_one_and_none_is_negative(raw, strength):
    columns = Columns.of(**raw)
    gate = SrpoGate(strength)
    weights = gate.weights(columns, torch.ones(len(columns.rewards), 1))[columns.response_mask]
    assert (weights >= 0).all()
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)


def test_entropy_that_all_tokens_share_changes_nothing():
    torch.testing.assert_close(weights(ENTROPY + 3.0), weights())
    torch.testing.assert_close(weights(torch.full((2, 3), 700.0)), torch.ones(5))


def test_beta_zero_switches_it_off():
    assert SrpoGate(0).off
    assert not SrpoGate().off


@pytest.mark.parametrize("beta", [-1.0, float("inf"), float("nan"), True])
def test_a_beta_out_of_range_names_the_key(beta):
    with pytest.raises(ValueError, match=r"algorithm\.egrsd\.srpo_gate\.beta="):
        SrpoGate(beta)
