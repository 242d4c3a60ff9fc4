import pytest
import torch

from verl_egrsd.credit import is_correct, length_shaped_reward

LENGTHS = torch.tensor([0, 512, 1024, 100])


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.bfloat16])
def test_a_correct_answer_earns_more_the_shorter_and_a_wrong_one_nothing(dtype):
    reward = length_shaped_reward(torch.tensor([1, 1, 1, 0]).to(dtype), LENGTHS, 1024)
    assert reward.tolist() == [1.5, 1.25, 1.0, 0.0]
    assert reward.dtype == torch.float32


def test_beta_weighs_the_length_bonus():
    reward = length_shaped_reward(torch.ones(4), LENGTHS, 1024, beta=0.0)
    assert reward.tolist() == [1.0] * 4


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, float("nan")])
def test_a_score_that_is_not_zero_or_one_is_refused_with_its_row(value):
    with pytest.raises(ValueError, match=r"correct\[2\]=.* True or False"):
        length_shaped_reward(torch.tensor([1.0, 0.0, value, 1.0]), LENGTHS, 1024)


@pytest.mark.parametrize("length", [-1, 1025])
def test_a_length_outside_the_cap_is_refused_even_for_a_wrong_answer(length):
    with pytest.raises(ValueError, match=rf"response_length\[1\]={length} .* max_response_length=1024"):
        length_shaped_reward(torch.zeros(2), torch.tensor([5, length]), 1024)


def test_other_arguments_out_of_range_are_refused_by_name():
    with pytest.raises(ValueError, match=r"beta=-0\.1 .* 0 \(no length bonus\)"):
        length_shaped_reward(torch.ones(4), LENGTHS, 1024, beta=-0.1)
    with pytest.raises(ValueError, match="max_response_length=0"):
        length_shaped_reward(torch.ones(4), LENGTHS, 0)
    with pytest.raises(ValueError, match=r"response_length has shape \(4,\) but correct has shape \(3,\)"):
        length_shaped_reward(torch.ones(3), LENGTHS, 1024)


def test_a_verdict_is_correct_and_a_format_bonus_is_not():
    scores = torch.tensor([1.0, 0.0, 0.1, 0.5, 0.6, -1.0])
    assert is_correct(scores).tolist() == [True, False, False, False, True, False]
    assert is_correct(scores, above=0.0).tolist() == [True, False, True, True, True, False]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_refused_with_its_row(value):
    with pytest.raises(ValueError, match=r"scores\[1\]=.* a finite number"):
        is_correct(torch.tensor([1.0, value]))
