"""The front and the lines of equal efficiency, as properties."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.frontier import dominates, efficiency, iso_efficiency, pareto_front

# Few values, so that ties and equal points are common.
places = st.tuples(
    st.integers(0, 10).map(lambda tenths: tenths / 10), st.integers(1, 10).map(lambda units: 100.0 * units)
)
planes = st.lists(places, min_size=1, max_size=12)


@settings(deadline=None)
@given(planes)
def test_a_point_is_on_the_front_exactly_when_no_point_dominates_it(points):
    front = set(pareto_front(points))
    for i, point in enumerate(points):
        assert (i in front) == (not any(dominates(other, point) for other in points))


@settings(deadline=None)
@given(planes)
def test_each_point_off_the_front_is_dominated_by_one_on_it(points):
    front = pareto_front(points)
    for i in set(range(len(points))) - set(front):
        assert any(dominates(points[j], points[i]) for j in front)


@settings(deadline=None)
@given(planes)
def test_along_the_front_longer_answers_are_more_accurate(points):
    front = [points[i] for i in pareto_front(points)]
    assert front
    for one, following in pairwise(front):
        assert one == following or (one[0] < following[0] and one[1] < following[1])


@settings(deadline=None)
@given(planes, st.randoms())
def test_the_order_of_the_points_does_not_matter(points, random):
    shuffled = random.sample(points, len(points))
    fronts = [sorted(some[i] for i in pareto_front(some)) for some in (points, shuffled)]
    assert fronts[0] == fronts[1]


@settings(deadline=None)
@given(planes)
def test_the_front_of_the_front_is_itself(points):
    front = [points[i] for i in pareto_front(points)]
    assert [front[i] for i in pareto_front(front)] == front


@settings(deadline=None)
@given(planes)
def test_the_most_efficient_point_is_on_the_front(points):
    best = max(efficiency(*point) for point in points)
    assert any(efficiency(*points[i]) == pytest.approx(best) for i in pareto_front(points))


@settings(deadline=None)
@given(st.floats(0.001, 1), st.floats(1, 40_000), st.floats(0.1, 10))
def test_every_point_of_a_line_of_equal_efficiency_has_that_efficiency(accuracy, length, factor):
    level = efficiency(accuracy, length)
    assert iso_efficiency(level, length) == pytest.approx(accuracy)
    assert efficiency(iso_efficiency(level, factor * length), factor * length) == pytest.approx(level)


def test_efficiency_is_percent_points_per_thousand_tokens():
    assert efficiency(0.6559, 11_008) == pytest.approx(5.96, abs=0.005)
