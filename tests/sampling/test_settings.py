"""Which samples become rows, and how the presets draw them."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.builders import make_sample
from verl_egrsd import cli
from verl_egrsd.sampling.command import protocol_of
from verl_egrsd.sampling.settings import PROTOCOLS, Filters

LONG = "first line\nsecond line"
SAMPLES = [
    make_sample("p0", 0, 40, True, text=LONG),
    make_sample("p0", 1, 50, False, text=LONG),
    make_sample("p0", 2, 64, False, text=LONG, finish_reason="length"),
    make_sample("p1", 0, 3, True, text="7\n"),
    make_sample("p1", 1, 1, False, text=" \n"),
    make_sample("p1", 2, 20, True, text=LONG),
]
RATES = {"p0": 1 / 3, "p1": 2 / 3}
NONE = {"pass_rate": 0, "empty": 1, "shortest": 0}


@pytest.mark.parametrize(
    ("filters", "kept", "dropped"),
    [
        ({}, [40, 50, 64, 3, 20], NONE),
        ({"correct_only": True}, [40, 3, 20], NONE | {"wrong": 2}),
        ({"drop_truncated": True}, [40, 50, 3, 20], NONE | {"truncated": 1}),
        ({"drop_stubs": True}, [40, 50, 64, 20], NONE | {"stubs": 1}),
        ({"drop_shortest": 0.4}, [40, 50, 64], NONE | {"shortest": 2}),
        ({"pass_rate": (0.5, 1)}, [3, 20], {"pass_rate": 3, "empty": 1, "shortest": 0}),
        (
            {"drop_truncated": True, "drop_stubs": True, "drop_shortest": 0.34},
            [40, 50],
            NONE | {"truncated": 1, "stubs": 1, "shortest": 1},
        ),
    ],
)
def test_each_filter_drops_what_it_says_and_counts_it(filters, kept, dropped):
    found, counts = Filters(**filters).keep(SAMPLES, RATES)
    assert [sample.tokens for sample in found] == kept
    assert counts == dropped


@given(tokens=st.lists(st.integers(1, 9), min_size=1, max_size=30), share=st.floats(0, 0.99))
def test_at_most_the_share_goes_and_never_one_of_equal_lengths_alone(tokens, share):
    samples = [make_sample("p", i, length, True) for i, length in enumerate(tokens)]
    kept, counts = Filters(drop_shortest=share).keep(samples, {"p": 1.0})
    assert counts["shortest"] == len(tokens) - len(kept) <= share * len(tokens)
    gone = sorted(tokens)[: counts["shortest"]]
    assert kept
    assert all(length < min(sample.tokens for sample in kept) for length in gone)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pass_rate": (0.5, 0.2)}, r"--pass-rate 0.5 0.2 is not allowed"),
        ({"pass_rate": (-1, 0.2)}, r"--pass-rate -1 0.2 is not allowed"),
        ({"drop_shortest": 1}, r"--drop-shortest 1 is not allowed: it must be in \[0, 1\)"),
    ],
)
def test_a_share_out_of_range_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Filters(**wrong)


def parsed(*given):
    parser = argparse.ArgumentParser()
    cli.COMMANDS["sample"].arguments(parser)
    return protocol_of(parser.parse_args(["model", "--data", "x.parquet", "--out", "y", *given]))


def test_ssd_samples_and_filters_as_its_source_does():
    settings, filters = parsed("--preset", "ssd")
    assert (settings.temperature, settings.top_k, settings.top_p, settings.samples) == (1.5, 20, 0.8, 1)
    assert filters == Filters(drop_truncated=True, drop_stubs=True, drop_shortest=0.1)


def test_what_is_given_takes_the_place_of_the_presets_value():
    assert parsed() == PROTOCOLS["rollouts"]
    settings, filters = parsed(
        *("--preset", "ssd", "--samples", "4", "--no-thinking", "--no-drop-truncated", "--correct-only"),
        *("--pass-rate", "0.1", "0.9"),
    )
    assert (settings.samples, settings.thinking, settings.temperature) == (4, False, 1.5)
    assert filters == Filters((0.1, 0.9), correct_only=True, drop_stubs=True, drop_shortest=0.1)
