"""Shares of the regimes over a run: running quantiles, and what survives a checkpoint."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.methods import Columns, EntropyGate
from verl_egrsd.methods.regimes import RegimeTracker, RunningQuantiles

BINS = 1000


def columns(rows=6, time=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, time + 1, (rows, 1), generator=generator)
    entropy = torch.rand(rows, time, generator=generator) ** 3 * 4
    return Columns.of(torch.arange(time) < lengths, teacher_entropy=entropy)


@settings(deadline=None)
@given(
    values=st.lists(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), min_size=1, max_size=4),
    q=st.floats(0.05, 0.95),
)
def test_running_quantiles_agree_with_torch_to_one_bin(values, q):
    running = RunningQuantiles(BINS)
    for part in values:
        running.update(torch.tensor(part))
    everything = torch.tensor([value for part in values for value in part], dtype=torch.float64)
    # Between two order statistics every quantile rule is a convention; the histogram must lie in that span.
    low, high = (torch.quantile(everything, q, interpolation=side) for side in ("lower", "higher"))
    assert low - 1e-9 - 1 / BINS <= running.quantile(q) <= high + 1 / BINS + 1e-9


def test_running_quantiles_of_many_values_agree_with_torch():
    values = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) ** 2
    running = RunningQuantiles()
    for part in values.split(777):
        running.update(part)
    for q in (0.1, 0.5, 0.7, 0.99):
        assert running.quantile(q) == pytest.approx(torch.quantile(values, q).item(), abs=2 / BINS)


def test_values_above_one_count_in_the_last_bin():
    running = RunningQuantiles()
    running.update(torch.tensor([0.2, 1.0, 1.7]))
    assert running.quantile(0.9) == 1.0
    assert running.counts.sum() == 3


def test_a_tracker_survives_json():
    running, restored = RegimeTracker(EntropyGate()), RegimeTracker(EntropyGate())
    running.update(columns(seed=1))
    restored.load_state_dict(json.loads(json.dumps(running.state_dict())))
    assert running.update(columns(seed=2)) == restored.update(columns(seed=2))
    assert running.state_dict() == restored.state_dict()


@pytest.mark.parametrize("keys", [{}, {"window": 5}, {"denominator": 2.0}, {"denominator_group": 2}])
def test_the_shares_of_the_regimes_sum_to_one(keys):
    found = EntropyGate(**keys).tracker().update(columns())
    shares = [found[f"regime/{name}"] for name in ("lock", "mid", "pivot", "fork")]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0
    assert shares[0] == pytest.approx(0.5, abs=0.05)


def test_a_gate_without_lookahead_is_shown_beside_the_one_of_three_tokens():
    entropy = torch.tensor([[2.0, 1.0, 4.0, 3.0]])
    seen = Columns.of(torch.ones(1, 4), teacher_entropy=entropy)
    for window, lookahead in ((0, [1, 1, 3, 3]), (1, [1, 1, 3, 3])):
        tracker = RegimeTracker(EntropyGate(gamma=0.8, window=window))
        tracker.update(seen)
        views = tracker.views(seen)
        assert views["lookahead"].tolist() == [lookahead]
        assert views["gate_plain"][0].tolist() == pytest.approx([0.6, 0.8, 0.2, 0.4])
        assert views["gate_lookahead"][0].tolist() == pytest.approx([0.8, 0.8, 0.4, 0.4])
