"""A value and its interval, in numbers and in words."""

from verl_egrsd.output.intervals import Interval


def test_the_ends_are_written_as_the_value_is():
    assert Interval(0.5, 0.25, 0.75).scaled(100).text("{:.1f}".format) == "50.0 [25.0, 75.0]"


def test_zero_on_an_end_is_covered():
    assert Interval(1, 0, 2).covers_zero
    assert Interval(-1, -2, 0).covers_zero
    assert not Interval(1, 0.5, 2).covers_zero
    assert not Interval(-1, -2, -0.5).covers_zero
