"""The time that is left: it knows that the answers which are not finished are the long ones."""

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.replicas import LIMIT as MAXIMUM
from tests.benchmarks.replicas import Fleet, measured_lengths
from verl_egrsd.evaluation.progress import LengthDistribution, Progress, seconds_left

LIMIT = 1000
lengths = st.lists(st.integers(1, LIMIT), min_size=1, max_size=30)


@settings(deadline=None)
@given(lengths)
def test_without_unfinished_answers_the_distribution_is_that_of_the_finished_ones(finished):
    found = LengthDistribution(finished, [], LIMIT)
    grid = np.arange(LIMIT, dtype=float)
    expected = [(np.array(finished) > tokens).mean() for tokens in grid]
    np.testing.assert_allclose(found.longer_than(grid), expected, atol=1e-9)
    assert found.mean() == pytest.approx(np.mean(finished), abs=2)


@settings(deadline=None)
@given(lengths, st.lists(st.integers(1, LIMIT - 1), min_size=1, max_size=30))
def test_unfinished_answers_make_the_expected_length_longer_up_to_the_limit(finished, growing):
    without = LengthDistribution(finished, [], LIMIT)
    found = LengthDistribution(finished, growing, LIMIT)
    grid = np.linspace(0, LIMIT, 50)
    shares = found.longer_than(grid)
    assert (shares >= without.longer_than(grid) - 1e-9).all()
    assert (np.diff(shares) <= 1e-12).all()
    assert without.mean() - 1e-6 <= found.mean() <= LIMIT + 1e-6
    assert 0 <= found.longest_rest(growing) <= LIMIT + 1e-6


def test_censored_lengths_are_the_textbooks_example():
    # Of five answers one ends at 10, one is at 20 by now, one ends at 30, two are at 40.
    found = LengthDistribution([10, 30], [20, 40, 40], LIMIT)
    np.testing.assert_allclose(found.longer_than(np.array([9.0, 10, 29, 30])), [1, 4 / 5, 4 / 5, 8 / 15])


def test_with_nothing_finished_every_answer_may_reach_the_limit():
    left = seconds_left([], [400, 100], 0, LIMIT, speed=20.0, at_once=2.0)
    assert left == pytest.approx((LIMIT - 100) / 10, rel=0.01)


def test_waiting_answers_cost_their_mean_and_the_longest_one_under_way_comes_last():
    left = seconds_left([100] * 50, [50] * 10, 200, LIMIT, speed=500.0, at_once=10.0)
    assert left == pytest.approx(200 * 100 / 500 + 50 / 50, rel=0.02)


@pytest.mark.parametrize("replicas", [1, 8])
def test_the_estimate_fits_from_the_first_tenth_to_the_tail(replicas):
    """The rate of finished samples fits at first only: it does not know that the long answers come last."""
    drawn = measured_lengths(1200)
    fleet = Fleet(replicas)
    total = fleet.run(drawn).seconds
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        now = fleet.run(drawn, until=share * total)
        left = seconds_left(
            now.finished, now.growing, now.waiting, MAXIMUM, speed=now.speed, at_once=len(now.growing)
        )
        assert left == pytest.approx((1 - share) * total, rel=0.45), share
    by_rate = share * total * (now.waiting + len(now.growing)) / len(now.finished)
    assert by_rate < 0.6 * (1 - share) * total


def test_the_bar_shows_speed_and_time_left_only_while_answers_grow(capsys):
    clock = iter([0.0, 10.0])
    with Progress(4, [100], LIMIT, clock=lambda: next(clock)) as progress:
        assert progress.look([]) == ""
        assert progress.look([10, 20]) == ""
        progress.add(60)
        shown = progress.look([80])
        assert re.fullmatch(r"11 tokens/s, about \d\d:\d\d left", shown), shown
    assert "2/4 samples" in capsys.readouterr().err


def test_the_bar_follows_the_engine_until_it_is_cancelled(monkeypatch, capsys):
    monkeypatch.setattr("verl_egrsd.evaluation.progress.LOOK_SECONDS", 0.001)
    asked = []

    async def lengths():
        asked.append(len(asked))
        return [100 * len(asked)]

    async def main():
        with Progress(2, [], LIMIT) as progress:
            following = asyncio.create_task(progress.follow(lengths))
            while len(asked) < 3:
                await asyncio.sleep(0.001)
            following.cancel()

    asyncio.run(main())
    assert "tokens/s, about" in capsys.readouterr().err
