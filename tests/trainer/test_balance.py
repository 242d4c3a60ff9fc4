"""The order in which the teacher's rows are dealt to ranks."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from verl_egrsd.trainer.balance import balanced_order

lengths = st.lists(st.integers(1, 20_000), min_size=1, max_size=12)


@given(lengths, st.integers(1, 4))
def test_every_row_is_dealt_once(lengths, ranks):
    rows = lengths * ranks
    assert sorted(balanced_order(rows, ranks)) == list(range(len(rows)))


def test_a_long_reference_does_not_wait_on_one_rank():
    lengths = [8_000, 7_500, 7_000, 6_500, 500, 400, 300, 200]
    order = balanced_order(lengths, ranks=2)
    halves = [sum(lengths[row] for row in half) for half in (order[:4], order[4:])]
    assert max(halves) / min(halves) < 1.1
