"""Steering: hidden states give the steered logits, rollouts are chosen as documented, the strength grows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.config import TeacherConfig, resolve_teacher
from verl_egrsd.teacher.attempts import Attempt, Attempts
from verl_egrsd.teacher.steering import contrast, steered, strength

RIGHT, LONG_RIGHT = Attempt("7+5=12", correct=True), Attempt("7+5=12, I think", correct=True)
WRONG, LONG_WRONG = Attempt("7+5=13", correct=False), Attempt("7+5=13, I think", correct=False)


@settings(deadline=None)
@given(seed=st.integers(0, 99), size=st.floats(0, 5))
def test_the_logits_of_steered_hidden_states_are_the_steered_logits(seed, size):
    draw = torch.Generator().manual_seed(seed)
    own, right, wrong = torch.randn(3, 4, 8, generator=draw).unbind()
    head = torch.randn(11, 8, generator=draw)
    z, z_right, z_wrong = (hidden @ head.T for hidden in (own, right, wrong))
    torch.testing.assert_close(
        steered(own, right, wrong, size) @ head.T, z + size * (z_right - z_wrong), rtol=1e-4, atol=1e-4
    )


def test_equal_sides_leave_the_hidden_states_bit_for_bit_and_the_sum_is_made_in_float32():
    own, side = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)).bfloat16().unbind()
    assert torch.equal(steered(own, side, side, 3.0), own)
    one, small = torch.ones(1, 1).bfloat16(), torch.full((1, 1), 2**-8).bfloat16()
    found = steered(-one, one, -small, 1.0)
    assert (found.item(), found.dtype) == (2**-8, torch.bfloat16)
    assert (one + small) - one == 0, "bfloat16 rounds the sum"


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (WRONG, (LONG_RIGHT, RIGHT, LONG_WRONG), (RIGHT, LONG_WRONG)),
        (RIGHT, (WRONG, LONG_RIGHT, LONG_WRONG), (LONG_RIGHT, WRONG)),
        (WRONG, (RIGHT,), (RIGHT, WRONG)),
        (RIGHT, (LONG_RIGHT,), None),
        (RIGHT, (WRONG,), None),
        (WRONG, (LONG_WRONG,), None),
    ],
)
def test_the_shortest_others_are_shown_and_the_rollout_itself_only_where_it_is_the_only_wrong_one(
    own, others, expected
):
    assert contrast(Attempts(own, others)) == expected


def test_the_strength_grows_evenly_and_is_0_without_steering():
    teacher = TeacherConfig(steering=3.0, steering_steps=4)
    assert [strength(teacher, step) for step in (1, 2, 4, 5, 100)] == [0.75, 1.5, 3.0, 3.0, 3.0]
    assert strength(TeacherConfig(steering=3.0, steering_steps=1), 1) == 3.0
    assert strength(TeacherConfig(), 7) == 0.0


def test_steering_grows_over_50_steps_by_default_and_0_switches_off_that_of_a_method():
    of_method = {"steering": 3.0}
    assert resolve_teacher(None, of_method) == TeacherConfig(steering=3.0, steering_steps=50)
    assert resolve_teacher(None, of_method | {"steering_steps": 10}).steering_steps == 10
    assert resolve_teacher({"steering": 0}, of_method) == TeacherConfig()
    with pytest.raises(ValueError, match=r"steering_steps=7 is read with steering only"):
        resolve_teacher({"steering": 0, "steering_steps": 7}, of_method)


@pytest.mark.parametrize("given_values", [{"steering": -1.0}, {"steering": "3"}, {"steering_steps": 0}])
def test_values_out_of_range_are_refused(given_values):
    key = next(iter(given_values))
    with pytest.raises(ValueError, match=rf"actor_rollout_ref\.teacher\.{key}=.* is not allowed"):
        TeacherConfig(**{"steering": 3.0, "steering_steps": 4} | given_values)
