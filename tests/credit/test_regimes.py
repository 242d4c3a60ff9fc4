import pytest
import torch
from hypothesis import given

from verl_egrsd.credit import Regime, lookahead_min, token_regimes

from .strategies import batches, examples, windows

NONE, LOCK, MID, PIVOT, FORK = Regime


def test_each_regime_is_recognised():
    entropy = torch.tensor([[2.0, 2.0, 1.6, 1.0, 2.0, 0.1, float("nan")]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0]]).bool()
    regimes = token_regimes(entropy, mask, 1, low=0.25, high=0.75)
    assert regimes.tolist() == [[FORK, FORK, MID, MID, PIVOT, LOCK, NONE]]
    assert regimes.dtype == torch.int64


def test_without_a_window_there_is_no_pivot():
    entropy, mask = torch.tensor([[2.0, 0.1, 1.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert token_regimes(entropy, mask, 0, low=0.25, high=0.75).tolist() == [[FORK, LOCK, MID]]


@examples
@given(batches(), windows)
def test_thresholds_are_inclusive_and_in_units_of_the_denominator(batch, window):
    entropy, mask = batch.teacher_entropy, batch.response_mask
    regimes = token_regimes(entropy, mask, window, low=0.5, high=1.0, denominator=2.0)
    ahead = lookahead_min(entropy, mask, window)
    for row, t in torch.cartesian_prod(*map(torch.arange, mask.shape)).tolist():
        here, least = float(entropy[row, t]), float(ahead[row, t])
        if not mask[row, t]:
            expected = NONE
        elif here <= 1:
            expected = LOCK
        elif here >= 2 and least >= 2:
            expected = FORK
        elif here >= 2 and least <= 1:
            expected = PIVOT
        else:
            expected = MID
        assert regimes[row, t] == expected


def test_equal_thresholds_prefer_lock_then_fork():
    entropy, mask = torch.tensor([[2.0, 1.0, 2.0, 0.5]]), torch.ones(1, 4, dtype=torch.bool)
    regimes = token_regimes(entropy, mask, 1, low=0.5, high=0.5)
    assert regimes.tolist() == [[FORK, LOCK, PIVOT, LOCK]]


def test_a_low_above_high_is_refused():
    with pytest.raises(ValueError, match=r"low=0.8 .* at most high=0.5"):
        token_regimes(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), 1, low=0.8, high=0.5)
