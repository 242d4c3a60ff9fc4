import pytest
import torch

from verl_egrsd.credit.masks import entropy_values, response_tokens, response_values

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.float32, torch.bfloat16])
def test_a_mask_of_any_dtype_becomes_the_same_booleans(dtype):
    mask = torch.tensor([[0, 1, 1], [0, 0, 0]]).to(dtype)
    assert response_tokens(mask).tolist() == [[False, True, True], [False, False, False]]


def test_a_hole_in_a_rollout_is_refused_with_its_row():
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 0]])
    with pytest.raises(ValueError, match=r"hole in row 2: multi-turn rollouts are not supported"):
        response_tokens(mask)


@pytest.mark.parametrize("value", [0.5, 2.0, NAN])
def test_a_mask_value_other_than_zero_and_one_is_refused(value):
    with pytest.raises(ValueError, match=r"response_mask is .* at row 0, position 1: use 1"):
        response_tokens(torch.tensor([[1.0, value]]))


@pytest.mark.parametrize("shape", [(3,), (0, 3), (3, 0), (1, 2, 3)])
def test_a_mask_that_is_not_batch_by_time_is_refused(shape):
    with pytest.raises(ValueError, match=r"response_mask has shape .* pass \(batch, time\)"):
        response_tokens(torch.ones(shape))


def test_different_shapes_are_refused_with_both():
    with pytest.raises(ValueError, match=r"response_mask has shape \(2, 4\) but entropy has shape \(2, 3\)"):
        response_values("entropy", torch.ones(2, 3), torch.ones(2, 4, dtype=torch.bool))


@pytest.mark.parametrize("value", [NAN, INF, -0.01])
def test_an_impossible_entropy_on_a_response_token_is_refused_with_its_place(value):
    entropy = torch.tensor([[1.0, 1.0, 1.0], [1.0, value, 1.0]])
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"teacher_entropy is .* at row 1, position 1"):
        entropy_values("teacher_entropy", entropy, mask)
    with pytest.raises(ValueError, match=r"teacher_entropy is .* at the row of problem 1, position 1"):
        entropy_values("teacher_entropy", entropy, mask, lambda row: f"the row of problem {row}")


def test_an_entropy_that_rounded_just_below_zero_is_accepted():
    values = torch.tensor([[-5e-4]])
    assert torch.equal(entropy_values("entropy", values, torch.ones(1, 1, dtype=torch.bool)), values)
