import math

import pytest
import torch

from verl_egrsd.methods import Columns, Ratio

TEACHER = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]])
STUDENT = torch.tensor([[-1.1, -0.9, -3.0], [-1.1, -0.9, -3.0]])


def likelihood_ratio(teacher, student, advantages, clip=0.2):
    columns = Columns.of(torch.ones_like(teacher), teacher_log_prob=teacher, student_log_prob=student)
    return Ratio(clip).weights(columns, advantages)


def test_the_exponent_carries_the_sign_of_the_advantage():
    ratio = likelihood_ratio(TEACHER, STUDENT, torch.tensor([[2.0], [-0.1]]))
    up, down = math.exp(0.1), math.exp(-0.1)
    torch.testing.assert_close(ratio, torch.tensor([[up, down, 1.2], [down, up, 0.8]]))


def test_advantages_may_differ_within_a_row():
    per_token = torch.tensor([[1.0, 1.0, -1.0], [0.0, -1.0, 1.0]])
    ratio = likelihood_ratio(TEACHER, STUDENT, per_token)
    torch.testing.assert_close(ratio[:, 2], torch.tensor([0.8, 1.2]))
    assert ratio[1, 0] == 1


def test_an_advantage_of_zero_gives_a_ratio_of_exactly_one():
    assert likelihood_ratio(TEACHER, STUDENT, torch.zeros(2, 1)).eq(1).all()


def test_a_clip_of_zero_switches_the_ratio_off():
    assert likelihood_ratio(TEACHER, STUDENT, torch.ones(2, 1), clip=0.0).eq(1).all()


@pytest.mark.parametrize("advantage", [1.0, 0.0, -1.0])
@pytest.mark.parametrize("size", [1e3, 1e30, 3.4e38])
def test_a_huge_difference_is_clipped_and_never_nan(size, advantage):
    teacher, student = torch.tensor([[size, -size]]), torch.tensor([[-size, size]])
    ratio = likelihood_ratio(teacher, student, torch.tensor([[advantage]]))
    torch.testing.assert_close(ratio, torch.tensor([[1 + 0.2 * advantage, 1 - 0.2 * advantage]]))


def test_a_clip_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"algorithm\.egrsd\.clip=1\.0 .* in \[0, 1\)"):
        Ratio(1.0)


def test_the_metrics_say_how_much_was_clipped():
    teacher, flat = torch.tensor([[1.0, -1.0, 0.05, 0.0]]), torch.zeros(1, 4)
    columns = Columns.of(torch.ones(1, 4), teacher_log_prob=teacher, student_log_prob=flat)
    found = Ratio().metrics(columns, Ratio().weights(columns, torch.ones(1, 1)))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {
            "share_clipped": 0.5,
            "share_clipped_low": 0.25,
            "share_clipped_high": 0.25,
            "log_ratio_abs": 2.05 / 4,
        }
    )
