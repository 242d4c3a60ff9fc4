"""The metrics: golden values, and properties that hold for every set of samples."""

import random
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_egrsd.evaluation.statistics import average, bootstrap, interval, metrics, pass_at_k
from verl_egrsd.evaluation.tables import majority_vote, make_table

from .builders import make_sample, make_samples, outcome_tables, table_of

# Three problems, four samples each: tokens and whether the answer is right.
GOLDEN = [
    [(100, True), (200, True), (300, True), (400, True)],
    [(1000, True), (500, False), (600, False), (700, False)],
    [(2000, False), (2000, False), (900, True), (800, True)],
]


def values(table):
    """The metrics themselves, without replicates."""
    found = metrics(table, np.ones((1, len(table.ids))))
    return {name: series[0] for name, series in found.items() if not np.isnan(series[0])}


def test_golden_values():
    expected = {
        "avg": 7 / 12,
        "pass@1": 7 / 12,
        "pass@2": (1 + 1 / 2 + 5 / 6) / 3,
        "pass@4": 1.0,
        "maj": (1 + 0 + 1 / 2) / 3,
        "length": 9500 / 12,
        "length_p50": 600.0,
        "length_p90": 2000.0,
        "length_right": 3700 / 7,
        "length_wrong": 5800 / 5,
        "truncated": 0.0,
        "eff": 100 * (7 / 12) / (9500 / 12 / 1000),
    }
    assert values(table_of(GOLDEN)) == pytest.approx(expected)


def test_the_eff_of_the_paper_follows_from_its_accuracy_and_length():
    """The published row of the untrained 4B model: 65.59 % at 11,008 tokens give 5.96."""
    table = table_of([[(11_008, i < 6559)] for i in range(10_000)])
    assert values(table)["eff"] == pytest.approx(5.96, abs=0.005)


def test_truncation_is_told_by_the_finish_reason_and_not_by_the_length():
    samples = [
        make_sample("p", 0, 32_768, False, finish_reason="length"),
        make_sample("p", 1, 32_768, True),
    ]
    assert values(make_table(samples))["truncated"] == 0.5


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_draws_with_a_right_sample(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            draws = list(combinations(range(n), k))
            share = sum(min(draw) < c for draw in draws) / len(draws)
            assert pass_at_k(n, c, k) == pytest.approx(share)


def votes(*answers):
    return [make_sample("p", i, 1, answer == "7", extracted=text) for i, (answer, text) in enumerate(answers)]


@pytest.mark.parametrize(
    ("samples", "right"),
    [
        (votes(("7", "7"), ("7", "$7$"), ("8", "8"), ("8", "9")), 1.0),
        (votes(("7", "1{,}000"), ("7", "1000."), ("8", "8"), ("8", "8"), ("8", "8")), 0.0),
        (votes(("7", "7"), ("8", "8")), 0.5),
        (votes(("7", "7"), ("8", "8"), ("8", "9")), 1 / 3),
        (votes(("7", "7"), ("8", ""), ("8", "")), 1.0),
        (votes(("8", ""), ("8", "$")), 0.0),
    ],
    ids=["equal spellings", "outvoted", "tie", "three-way tie", "no answer, no vote", "nobody answers"],
)
def test_the_majority_votes_over_equal_answers(samples, right):
    assert majority_vote(samples) == pytest.approx(right)


@given(outcome_tables())
def test_pass_at_1_is_avg_and_pass_at_k_never_falls(problems):
    found = values(table_of(problems))
    chances = [found[name] for name in sorted(found, key=len) if name.startswith("pass@")]
    assert found["pass@1"] == pytest.approx(found["avg"])
    assert all(a <= b + 1e-12 for a, b in pairwise(chances))
    if len(problems[0]) in (1, 2, 4):
        solved = np.mean([any(right for _, right in row) for row in problems])
        assert found[f"pass@{len(problems[0])}"] == pytest.approx(solved)


@given(outcome_tables())
def test_shares_lie_between_0_and_1_and_lengths_between_the_shortest_and_the_longest(problems):
    lengths = [tokens for row in problems for tokens, _ in row]
    for name, series in bootstrap(table_of(problems), "sums", replicates=50).items():
        known = series[~np.isnan(series)]
        low, high = (min(lengths), max(lengths)) if name.startswith("length") else (0, 1)
        if name != "eff":
            assert (known >= low - 1e-9).all()
            assert (known <= high + 1e-9).all()


@given(outcome_tables())
def test_right_and_wrong_lengths_average_to_the_length(problems):
    found = values(table_of(problems))
    right, wrong = found.get("length_right", 0.0), found.get("length_wrong", 0.0)
    assert found["avg"] * right + (1 - found["avg"]) * wrong == pytest.approx(found["length"])
    assert ("length_wrong" in found) == any(not correct for row in problems for _, correct in row)


@given(outcome_tables())
def test_quantiles_are_those_of_numpy(problems):
    lengths = [tokens for row in problems for tokens, _ in row]
    found = values(table_of(problems))
    for percent in (50, 90):
        expected = np.percentile(lengths, percent, method="inverted_cdf")
        assert found[f"length_p{percent}"] == expected


@given(outcome_tables())
def test_an_interval_contains_its_value(problems):
    for series in bootstrap(table_of(problems), "sums", replicates=100).values():
        found = interval(series)
        assert found.low <= found.value <= found.high


def test_an_interval_that_misses_its_value_is_widened_to_it():
    replicates = np.arange(1000.0)
    assert interval(np.concatenate([[-5.0], replicates])).low == -5
    assert interval(np.concatenate([[2000.0], replicates])).high == 2000
    expected = (500.0, pytest.approx(24.975), pytest.approx(974.025))
    assert interval(np.concatenate([[500.0], replicates])) == expected


@given(outcome_tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_lines_does_not_matter(problems, rng: random.Random):
    samples = make_samples(problems)
    found = bootstrap(make_table(samples), "sums", replicates=20)
    rng.shuffle(samples)
    again = bootstrap(make_table(samples), "sums", replicates=20)
    assert found.keys() == again.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], again[name])


def test_weighing_a_problem_is_repeating_it():
    """What the bootstrap rests on: counts as weights give the metrics of the resampled table."""
    weighted = metrics(table_of(GOLDEN), np.array([[2.0, 0.0, 3.0]]))
    first, _, third = GOLDEN
    repeated = values(table_of([first, first, third, third, third]))
    assert {name: series[0] for name, series in weighted.items()} == pytest.approx(repeated)


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says():
    rng = np.random.default_rng(0)
    right = rng.random((400, 1)) < 0.6
    found = interval(bootstrap(table_of([[(10, bool(x[0]))] for x in right]), "sums")["avg"])
    error = np.sqrt(found.value * (1 - found.value) / 400)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_equal_samples_of_a_problem_do_not_narrow_the_interval():
    """Problems are resampled, and not samples: eight copies of each answer add no evidence."""
    once = [[(10, i % 3 == 0)] for i in range(60)]
    once_interval = interval(bootstrap(table_of(once), "sums")["avg"])
    assert interval(bootstrap(table_of([row * 8 for row in once]), "sums")["avg"]) == pytest.approx(
        once_interval
    )


def test_intervals_repeat_with_the_seed_and_benchmarks_are_resampled_independently():
    table = table_of(GOLDEN)
    first = bootstrap(table, "aime24", replicates=100)["avg"]
    np.testing.assert_array_equal(first, bootstrap(table, "aime24", replicates=100)["avg"])
    assert (first != bootstrap(table, "aime24", seed=1, replicates=100)["avg"]).any()
    assert (first != bootstrap(table, "aime25", replicates=100)["avg"]).any()


def test_averages_are_unweighted_and_eff_is_that_of_the_averages():
    easy = bootstrap(table_of([[(100, True)]] * 9), "easy", replicates=50)
    hard = bootstrap(table_of([[(900, False), (900, True)]]), "hard", replicates=50)
    means = average({"easy": easy, "hard": hard})
    assert means["avg"][0] == pytest.approx(0.75)
    assert means["length"][0] == pytest.approx(500)
    assert means["eff"][0] == pytest.approx(150)
    assert "pass@2" not in means
    assert "length_wrong" not in means


def test_problems_with_different_numbers_of_samples_are_refused():
    with pytest.raises(ValueError, match=r"problems have \[1, 2\] samples"):
        table_of([[(1, True)], [(1, True), (2, True)]])
