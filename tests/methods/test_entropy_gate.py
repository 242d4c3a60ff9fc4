import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.credit.strategies import batches, denominators, examples, gammas, windows
from verl_egrsd.credit import normalised_entropy
from verl_egrsd.methods import EntropyGate

ENTROPY = torch.tensor([[0.5, 2.0], [4.0, 1.0]])
ONES = torch.ones(2, 2, dtype=torch.bool)
TWO, FOUR = (torch.ones(1, n, dtype=torch.bool) for n in (2, 4))


def entropy_gate(entropy, mask, **keys):
    return EntropyGate(**keys).gate(entropy, mask)


def windows_of(entropy, mask, window):
    """For each response token the entropies that its window holds, own rollout only."""
    for row, t in mask.nonzero().tolist():
        stop = t + window + 1
        yield row, t, entropy[row, t:stop][mask[row, t:stop]]


@examples
@given(batches(), gammas, windows, st.sampled_from(["raw", "filtered", 0.5]), st.floats(0.0625, 1, width=16))
def test_the_gate_is_between_floor_and_one_inside_and_zero_outside(batch, gamma, window, denominator, floor):
    gate = entropy_gate(
        batch.teacher_entropy,
        batch.response_mask,
        gamma=gamma,
        window=window,
        floor=floor,
        denominator=denominator,
    )
    inside = gate[batch.response_mask]
    assert ((inside >= floor) & (inside <= 1)).all()
    assert (gate[~batch.response_mask] == 0).all()


@examples
@given(batches(), gammas, gammas, windows, denominators)
def test_a_larger_gamma_never_raises_the_gate(batch, one, other, window, denominator):
    weak, strong = (
        entropy_gate(
            batch.teacher_entropy, batch.response_mask, gamma=gamma, window=window, denominator=denominator
        )
        for gamma in sorted([one, other])
    )
    assert (strong <= weak).all()


@examples
@given(batches(), gammas, windows, denominators)
def test_lookahead_never_lowers_the_gate(batch, gamma, window, denominator):
    plain, ahead = (
        entropy_gate(
            batch.teacher_entropy, batch.response_mask, gamma=gamma, window=w, denominator=denominator
        )
        for w in (0, window)
    )
    assert (ahead >= plain).all()


@examples
@given(batches(), st.floats(0, 6, width=16), gammas, windows, st.sampled_from(["raw", "filtered", 2.0]))
def test_lookahead_changes_nothing_on_constant_entropy(batch, level, gamma, window, denominator):
    constant = torch.full_like(batch.teacher_entropy, level)
    plain, ahead = (
        entropy_gate(constant, batch.response_mask, gamma=gamma, window=w, denominator=denominator)
        for w in (0, window)
    )
    assert torch.equal(ahead, plain)


@examples
@given(batches(), gammas, windows, denominators)
def test_no_window_mean_or_median_below_the_entropy_opens_the_gate_further(batch, gamma, window, denominator):
    entropy, mask = batch.teacher_entropy, batch.response_mask
    scale = {"gamma": gamma, "denominator": denominator}
    if denominator == "raw":
        scale["denominator"] = max(1.0, float((entropy * mask).max()))
    gate = entropy_gate(entropy, mask, window=window, **scale)
    mean, median = torch.zeros_like(entropy), torch.zeros_like(entropy)
    for row, t, reach in windows_of(entropy, mask, window):
        mean[row, t] = torch.minimum(entropy[row, t], reach.mean())
        median[row, t] = torch.minimum(entropy[row, t], reach.median())
    for filtered in (mean, median):
        # The mean of equal values may round below them.
        assert (gate >= entropy_gate(filtered, mask, **scale) - 1e-5).all()


@examples
@given(batches(rows=4), gammas, windows, st.floats(0.25, 8, width=16))
def test_shards_with_a_given_denominator_equal_the_whole_batch(batch, gamma, window, denominator):
    options = {"gamma": gamma, "window": window, "denominator": denominator}
    whole = entropy_gate(batch.teacher_entropy, batch.response_mask, **options)
    shards = [batch.rows(0, 1), batch.rows(1, 4)]
    parts = [entropy_gate(shard.teacher_entropy, shard.response_mask, **options) for shard in shards]
    assert torch.equal(torch.cat(parts), whole)


@examples
@given(batches(rows=8), gammas, windows, st.sampled_from(["raw", "filtered"]))
def test_a_group_of_four_rows_equals_those_rows_alone(batch, gamma, window, denominator):
    options = {"gamma": gamma, "window": window, "denominator": denominator}
    whole = entropy_gate(batch.teacher_entropy, batch.response_mask, denominator_group=4, **options)
    groups = [batch.rows(0, 4), batch.rows(4, 8)]
    parts = [entropy_gate(group.teacher_entropy, group.response_mask, **options) for group in groups]
    assert torch.equal(torch.cat(parts), whole)


def test_the_raw_denominator_is_the_maximum_of_the_batch_or_of_each_group():
    assert normalised_entropy(ENTROPY, ONES).tolist() == [[0.125, 0.5], [1.0, 0.25]]
    assert normalised_entropy(ENTROPY, ONES, denominator_group=1).tolist() == [[0.25, 1.0], [1.0, 0.25]]


def test_the_filtered_denominator_is_the_maximum_after_the_lookahead():
    entropy = torch.tensor([[4.0, 2.0, 3.0, 1.0]])
    normalised = normalised_entropy(entropy, FOUR, window=1, denominator="filtered")
    assert normalised.tolist() == [[1.0, 1.0, 0.5, 0.5]]


def test_a_measured_denominator_is_at_least_the_minimum_and_a_given_one_is_used_as_it_is():
    low = torch.tensor([[0.25, 0.5]])
    assert normalised_entropy(low, TWO).tolist() == [[0.25, 0.5]]
    assert normalised_entropy(low, TWO, min_denominator=2.0).tolist() == [[0.125, 0.25]]
    assert normalised_entropy(low, TWO, denominator=0.5).tolist() == [[0.5, 1.0]]


def test_a_batch_without_response_tokens_has_gate_zero():
    assert not entropy_gate(ENTROPY, torch.zeros(2, 2, dtype=torch.bool), gamma=1.0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"denominator": "mean"}, r"denominator='mean' .* raw, filtered"),
        ({"denominator": -2.0}, r"denominator=-2.0 .* positive"),
        ({"min_denominator": 0.0}, r"min_denominator=0.0 .* positive"),
        ({"denominator_group": 3}, r"denominator_group=3 .* divisor of the number of rows, 2"),
        ({"denominator_group": 0}, r"denominator_group=0 .* 1 or more rows"),
    ],
)
def test_options_of_the_mathematics_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        normalised_entropy(ENTROPY, ONES, **options)


def test_rows_of_a_step_that_the_group_does_not_divide_are_refused_before_the_start():
    EntropyGate(denominator_group=4).check_batch(32)
    with pytest.raises(ValueError, match="denominator_group=4 does not divide the 30 rollouts of a step"):
        EntropyGate(denominator_group=4).check_batch(30)
