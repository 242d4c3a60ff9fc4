"""The position gate against values made apart from this package (numpy, float64, the paper's formula)."""

import pytest
import torch

from verl_egrsd.methods import Columns
from verl_egrsd.methods.position import Position

THREE = [0.4064563955, 0.9105978085, 0.9963964353]
TWO = [0.5331555016, 0.9917597930]


DEFAULT = Position()


def gate(mask, factor=DEFAULT):
    return factor.weights(Columns.of(torch.tensor(mask)), torch.ones(len(mask), 1))


def test_the_weights_are_the_golden_ones():
    found = gate([[1, 1, 1], [1, 1, 0]])
    torch.testing.assert_close(found[0], torch.tensor(THREE), rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1, :2], torch.tensor(TWO), rtol=0, atol=1e-6)


def test_the_weight_rises_from_floor_to_one():
    weights = gate([[1] * 1000])[0]
    assert (weights.diff() >= 0).all()
    assert weights[0] == pytest.approx(0.25 + 0.75 * 0.0474, abs=1e-3)
    assert weights[-1] == pytest.approx(1, abs=1e-3)


def test_half_of_the_way_up_lies_at_the_middle():
    assert gate([[1] * 1000], Position(floor=0.5, middle=0.7))[0, 700] == pytest.approx(0.75, abs=2e-3)


def test_a_response_may_start_anywhere():
    found = gate([[0, 1, 1, 1]])
    torch.testing.assert_close(found[0, 1:], torch.tensor(THREE), rtol=0, atol=1e-6)


def test_it_reads_no_column_and_needs_no_teacher():
    assert Position().reads == frozenset()


def test_floor_one_switches_it_off():
    assert Position(floor=1).off
    assert not Position().off


@pytest.mark.parametrize(
    ("key", "value"), [("floor", -0.1), ("floor", 1.1), ("middle", 2), ("width", 0), ("width", float("nan"))]
)
def test_a_value_out_of_range_names_the_key(key, value):
    with pytest.raises(ValueError, match=rf"algorithm\.egrsd\.position\.{key}="):
        Position(**{key: value})
