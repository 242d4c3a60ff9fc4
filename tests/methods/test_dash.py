"""DASH's backward scan, against values computed here token by token in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

from tests.methods.strategies import examples, raw_columns
from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.backward_scan import BackwardScan

ONE = torch.ones(1, 1)


def columns(*rewards: list[float]) -> Columns:
    """Return rows whose log-ratios are these numbers."""
    longest = max(map(len, rewards))
    mask = torch.tensor([[i < len(row) for i in range(longest)] for row in rewards])
    ratios = torch.tensor([row + [0.0] * (longest - len(row)) for row in rewards])
    student = torch.full_like(ratios, -9.0)
    return Columns.of(mask, student_log_prob=student, teacher_log_prob=student + ratios)


def scanned(rewards: np.ndarray, kappa: float) -> np.ndarray:
    """Return the definition, from the last token to the first, for one rollout."""
    found, following = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        share = 1 / (1 + np.exp(kappa * (rewards[t] - rewards.mean())))
        found[t] = following = rewards[t] + share * following
    return found


def test_three_tokens_by_hand():
    """The mean of (1, -2, 1) is 0; sigmoid(-5) = 0.0066929, sigmoid(10) = 0.9999546."""
    weights = BackwardScan().weights(columns([1.0, -2.0, 1.0]), ONE)
    second = -2 + 0.9999546021312976 * 1
    first = 1 + 0.0066928509242848554 * second
    torch.testing.assert_close(weights, torch.tensor([[first, second, 1.0]]))


def test_the_mean_is_that_of_the_rollout():
    rows = ([0.4, -1.2, 0.1, -0.3], [2.0, 1.5])
    weights = BackwardScan().weights(columns(*rows), ONE)
    for row, rewards in zip(weights, rows, strict=True):
        golden = torch.tensor(scanned(np.array(rewards), 5.0), dtype=torch.float32)
        torch.testing.assert_close(row[: len(rewards)], golden)


@examples
@given(raw_columns())
def test_any_batch_is_the_definition_row_by_row(raw):
    factor, read = BackwardScan(kappa=0.5), Columns.of(**raw)
    weights = factor.weights(read, ONE)
    for row, mask, ratios in zip(weights, read.response_mask, read.log_ratio(), strict=True):
        golden = torch.tensor(scanned(ratios[mask].double().numpy(), 0.5))
        torch.testing.assert_close(row[mask].double(), golden, rtol=1e-5, atol=1e-5)


def test_without_kappa_half_of_each_weight_goes_back():
    weights = BackwardScan(kappa=0.0).weights(columns([0.0, 0.0, 8.0]), ONE)
    assert weights.tolist() == [[2.0, 4.0, 8.0]]


def test_the_weights_are_the_credit_whatever_the_reward():
    method, read = methods()["dash"], columns([1.0, -2.0, 1.0])
    advantages = method.advantage.start().advantages(read).unsqueeze(1)
    torch.testing.assert_close(method.credit(read, advantages).credit, BackwardScan().weights(read, ONE))


def test_a_difference_that_overflows_stays_finite():
    huge = torch.tensor([[3.4e38, -3.4e38]])
    read = Columns.of(torch.ones(1, 2), student_log_prob=huge, teacher_log_prob=-huge)
    assert BackwardScan().weights(read, ONE).tolist() == [[0.0, 100.0]]


def test_a_kappa_out_of_range_is_refused_by_its_key():
    with pytest.raises(ValueError, match=r"algorithm.egrsd.backward_scan.kappa=-1.0 is not allowed"):
        resolve("dash", {"backward_scan": {"kappa": -1.0}}, max_response_length=1)
