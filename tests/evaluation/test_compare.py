"""Two evaluations are compared problem by problem, and the sentence says no more than the numbers."""

import numpy as np
import pytest

from verl_egrsd.evaluation.compare import compare, comparison_markdown
from verl_egrsd.evaluation.statistics import bootstrap, interval

from .builders import make_samples, table_of, write_evaluation


def write(folder, problems, **settings):
    return write_evaluation(folder, make_samples(problems), name=folder.name, samples=1, **settings)


@pytest.fixture
def rows():
    """200 problems of very different length and difficulty."""
    rng = np.random.default_rng(0)
    return [[(int(tokens), bool(tokens < 4000))] for tokens in rng.integers(100, 8000, 200)]


def test_a_run_that_is_shorter_and_more_accurate_dominates(tmp_path, rows):
    a = write(tmp_path / "a", [[(tokens - 50, tokens < 5000)] for ((tokens, _),) in rows])
    b = write(tmp_path / "b", rows)
    found = compare(a, b, replicates=500)
    assert found["dominates"] == {"a": 1.0, "b": 0.0}
    assert found["sentence"].startswith("a dominates b at 200 problems: in 100.0 % of the resamples")
    assert found["average"]["length"]["difference"]["value"] == pytest.approx(-50)
    turned = compare(b, a, replicates=500)
    assert turned["sentence"].startswith("a dominates b at 200 problems")
    assert turned["average"]["length"]["difference"]["value"] == pytest.approx(50)


def test_equal_accuracy_and_less_length_is_shorter_and_no_dominance_where_accuracy_is_noise(tmp_path, rows):
    flipped = [[(tokens - 50, right != (i % 10 == 0))] for i, ((tokens, right),) in enumerate(rows)]
    found = compare(write(tmp_path / "a", flipped), write(tmp_path / "b", rows), replicates=500)
    assert found["sentence"] == (
        "Neither dominates at 200 problems: a is not clearly less accurate or more accurate "
        "(+3.0 [-1.0, +7.5]) and shorter (-50 [-50, -50]) than b."
    )
    assert found["dominates"]["b"] == 0


def test_more_accuracy_for_more_length_dominates_nothing(tmp_path, rows):
    better = [[(tokens + 500, tokens < 6000)] for ((tokens, _),) in rows]
    found = compare(write(tmp_path / "a", better), write(tmp_path / "b", rows), replicates=500)
    assert found["dominates"] == {"a": 0.0, "b": 0.0}
    assert "a is more accurate (+" in found["sentence"]
    assert "and longer (+500 [+500, +500]) than b." in found["sentence"]


def test_two_equal_runs_do_not_dominate_each_other(tmp_path, rows):
    found = compare(write(tmp_path / "a", rows), write(tmp_path / "b", rows), replicates=100)
    assert found["dominates"] == {"a": 0.0, "b": 0.0}
    assert found["benchmarks"]["sums"]["accuracy"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_comparison_is_paired(tmp_path, rows):
    """A constant difference has no spread, however much the problems differ."""
    shorter = [[(tokens - 50, right)] for ((tokens, right),) in rows]
    found = compare(write(tmp_path / "a", shorter), write(tmp_path / "b", rows), replicates=500)
    difference = found["benchmarks"]["sums"]["length"]["difference"]
    assert difference["high"] - difference["low"] < 1e-6
    alone = interval(bootstrap(table_of(rows), "sums", replicates=500)["length"])
    assert alone.high - alone.low > 300


def test_problems_are_matched_by_id_and_not_by_the_order_of_the_lines(tmp_path, rows):
    samples = make_samples(rows)
    a = write_evaluation(tmp_path / "a", samples, name="a", samples=1)
    b = write_evaluation(tmp_path / "b", samples[::-1], name="b", samples=1)
    difference = compare(a, b, replicates=100)["benchmarks"]["sums"]["length"]["difference"]
    assert difference == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_problem_that_is_missing_on_one_side_is_refused_unless_common_is_given(tmp_path, rows):
    a, b = write(tmp_path / "a", rows), write(tmp_path / "b", rows[:150])
    for pair in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=r"b lacks 50 problems of sums that a has: .* --common"):
            compare(*pair, replicates=10)
    found = compare(a, b, common=True, replicates=10)
    assert found["benchmarks"]["sums"]["problems"] == 150
    assert found["benchmarks"]["sums"]["length"]["difference"]["value"] == 0


def test_a_benchmark_that_is_missing_on_one_side_is_refused_unless_common_is_given(tmp_path, rows):
    more = make_samples(rows[:5], "more")
    a = write_evaluation(tmp_path / "a", make_samples(rows) + more, name="a", samples=1)
    b = write(tmp_path / "b", rows)
    with pytest.raises(ValueError, match="b lacks 5 problems of more that a has"):
        compare(a, b, replicates=10)
    assert list(compare(a, b, common=True, replicates=10)["benchmarks"]) == ["sums"]
    c = write_evaluation(tmp_path / "c", more, name="c", samples=1)
    with pytest.raises(ValueError, match="b and c have no problem in common"):
        compare(b, c, common=True, replicates=10)


def test_settings_that_differ_are_shown(tmp_path, rows):
    a = write(tmp_path / "a", rows, max_new_tokens=1024)
    b = write(tmp_path / "b", rows)
    found = compare(a, b, replicates=10)
    assert found["settings"] == {"settings.max_new_tokens": [1024, 32_768]}
    assert "Different setting: settings.max_new_tokens is 1024 for a, 32768 for b." in comparison_markdown(
        found
    )


def test_the_teacher_is_compared_with_a_student_that_an_earlier_version_evaluated(tmp_path, rows):
    found = write(tmp_path / "a", rows), write(tmp_path / "b", rows, template="concise")
    settings = tmp_path / "a" / "settings.json"
    settings.write_text(
        settings.read_text().replace('"template": null,', "").replace(', "template_text": null', "")
    )
    assert compare(*found, replicates=10)["settings"] == {"settings.template": [None, "concise"]}


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path, rows):
    first, second = (tmp_path / name / "run" for name in ("x", "y"))
    found = compare(write(first, rows), write(second, rows), replicates=10)
    assert (found["a"], found["b"]) == (str(first), str(second))
