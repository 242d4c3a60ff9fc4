"""Panels of the page: means and bands over steps, gaps, round ticks."""

from __future__ import annotations

import math
import re
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.output.pictures import COLOURS
from verl_egrsd.report.axes import Axis, number, ticks
from verl_egrsd.report.chart import (
    FRAME,
    POINTS_AT_MOST,
    binned,
    drawn_panels,
    embedded_curves,
    with_few_digits,
)
from verl_egrsd.report.curves import FEW, LINES

CORRECT, VALIDATION = "egrsd/correct", "val-core/sums/acc/mean@1"


def panel(curve, breaks=()):
    """The panel of accuracies with this curve."""
    (found,) = drawn_panels({CORRECT: curve}, breaks)
    return found


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | st.floats(-1e3, 1e3), min_size=1, max_size=400), st.integers(1, 50))
def test_no_value_is_lost_between_the_steps(values, first):
    curve = list(enumerate(values, start=first))
    points = binned(curve, first, first + len(values) - 1)
    assert len(points.mean) <= POINTS_AT_MOST
    finite = [value for value in values if value is not None]
    there = [found for found in zip(*points, strict=True) if not math.isnan(found[1])]
    assert bool(there) == bool(finite)
    assert all(
        low <= mean + 1e-9 and mean <= high + 1e-9 and first <= step <= curve[-1][0]
        for step, mean, low, high in there
    )
    if finite:
        assert min(low for *_, low, _ in there) == min(finite)
        assert max(high for *_, high in there) == max(finite)


def test_few_steps_are_drawn_as_they_are_with_markers():
    (curve,) = panel([(step, step / 10) for step in range(1, 5)]).curves
    assert (curve.line.count("L"), curve.dots.count("h0"), curve.band, curve.last) == (3, 4, "", "0.4")


def test_many_steps_are_means_in_a_band_without_markers():
    (curve,) = panel([(step, step % 2) for step in range(1, 2001)]).curves
    assert FEW < curve.line.count("L") < POINTS_AT_MOST
    assert (curve.dots, curve.band[0], curve.band[-1]) == ("", "M", "Z")


def test_a_value_that_is_not_finite_is_a_gap_and_a_validation_now_and_then_is_none():
    (curve,) = panel([(1, 0.1), (2, None), (3, 0.3), (4, None)]).curves
    assert (curve.line.count("M"), curve.last) == (2, "not a number")
    found = drawn_panels({CORRECT: [(s, 0.5) for s in range(300)], VALIDATION: [(0, 0.1), (250, 0.2)]}, ())
    assert [curve.line.count("M") for curve in found[0].curves] == [1, 1]


def test_a_curve_without_a_finite_value_and_a_run_without_a_step_can_be_drawn():
    assert panel([(3, None)]).curves[0].line == ""
    assert drawn_panels({}, ()) == []
    assert embedded_curves({}, ())["panels"] == []


def test_a_break_is_a_line_after_its_step_within_the_run():
    curve = [(step, 0.5) for step in range(1, 5)]
    (at,) = panel(curve, [{"step": 2}, {"step": 4}]).breaks
    assert at == pytest.approx((FRAME["left"] + FRAME["width"] - FRAME["right"]) / 2)


@settings(deadline=None, max_examples=50)
@given(
    st.floats(-1e4, 1e4), st.floats(1e-2, 1e6) | st.just(1.0), st.integers(2, 8), st.sampled_from([0.0, 1.0])
)
def test_ticks_are_round_and_within_the_axis(low, span, about, least):
    axis = Axis(low, low + span, 0.0, 1.0)
    found = ticks(axis, about, least)
    assert len(found) <= about + 1
    assert all(-1e-6 <= tick.at <= 1 + 1e-6 for tick in found)


def test_ticks_of_steps_are_whole_and_numbers_are_short():
    assert [tick.label for tick in ticks(Axis(1, 3, 0, 1), 5, least=1)] == ["1", "2", "3"]
    assert [tick.label for tick in ticks(Axis(0, 2000, 0, 1), 5)] == ["0", "500", "1,000", "1,500", "2,000"]
    assert [number(x) for x in (0.12345, 12345.6, 5e-6, -0.0)] == ["0.1235", "12,346", "0.000005", "0"]


def test_curves_share_their_steps():
    curves = {"egrsd/reward/mean": [(1, 1 / 3), (2, None)], "egrsd/reward/std": [(1, 1.0), (2, 2.0)]}
    found = embedded_curves(with_few_digits(curves), [{"step": 1, "changed": {}}])
    assert (found["grids"], found["breaks"]) == ([(1, 2)], [1])
    assert found["panels"] == [[{"grid": 0, "values": [0.33333, None]}, {"grid": 0, "values": [1.0, 2.0]}]]


def test_every_colour_and_line_of_the_curves_has_a_style_of_the_page():
    css = (files("verl_egrsd.report") / "curves.css").read_text()
    for kind, looks in (("c", COLOURS), ("l", LINES)):
        assert {int(number) for number in re.findall(rf"\.{kind}(\d) {{", css)} == {*range(len(looks))}
