"""What holds for every factor, those that another package registers too."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.methods.strategies import Raw, examples, in_order, raw_columns, with_padding
from verl_egrsd.methods import Columns, Factor, Method, factors
from verl_egrsd.methods.columns import TOKEN_COLUMNS

every_factor = pytest.mark.parametrize("factor", factors().values(), ids=factors())


def weights(factor: Factor, raw: Raw) -> torch.Tensor:
    """Return the weights of the response tokens, one row after the other."""
    columns = Columns.of(**raw)
    advantages = (columns.rewards - 0.5).unsqueeze(1)
    credited = Method("one", "one factor", (factor,)).credit(columns, advantages)
    return credited.weights.get(factor.name, torch.ones_like(credited.credit))[columns.response_mask]


@every_factor
@examples
@given(raw_columns(), st.sampled_from([float("nan"), float("inf"), -7.0]), st.integers(0, 3))
def test_padding_never_matters(factor, raw, junk, more):
    torch.testing.assert_close(weights(factor, with_padding(raw, junk, more)), weights(factor, raw))


@every_factor
@examples
@given(raw_columns(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_never_matters(factor, raw, random):
    lengths = raw["response_mask"].sum(dim=1).tolist()
    order = _shuffled([*zip(raw["problems"].tolist(), lengths, strict=True)], random)
    rows = weights(factor, raw).split(lengths)
    moved = weights(factor, in_order(raw, torch.tensor(order)))
    torch.testing.assert_close(moved, torch.cat([rows[row] for row in order]))


def _shuffled(kinds: list[tuple[int, int]], random: Random) -> list[int]:
    """Return the rows in another order, in which equal kinds keep theirs.

    A factor may choose one rollout of a problem by its length, and the first one among equals.
    """
    rows = {kind: iter([row for row, other in enumerate(kinds) if other == kind]) for kind in kinds}
    return [next(rows[kind]) for kind in random.sample(kinds, len(kinds))]


@every_factor
@examples
@given(raw_columns())
def test_weights_and_metrics_are_finite(factor, raw):
    columns, found = Columns.of(**raw), weights(factor, raw)
    mask = columns.response_mask
    spread = torch.zeros(mask.shape).masked_scatter(mask, found)
    assert found.isfinite().all()
    assert all(torch.as_tensor(value).isfinite() for value in factor.metrics(columns, spread).values())


@every_factor
@examples
@given(raw_columns())
def test_a_factor_reads_no_token_column_that_it_does_not_name(factor, raw):
    unread = {*TOKEN_COLUMNS} - factor.reads
    named = {name: value for name, value in raw.items() if name not in unread}
    torch.testing.assert_close(weights(factor, named), weights(factor, raw))
