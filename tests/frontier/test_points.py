"""What is read from summaries, what is refused, and whether the published numbers agree with themselves."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from verl_egrsd.evaluation.published import PUBLISHED_MODELS
from verl_egrsd.frontier import Point, frontier, published_points, read_points
from verl_egrsd.output.intervals import Interval

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.json"))
SIX = ("AIME24", "AIME25", "HMMT25", "MATH500", "Minerva", "GSM8K")


@pytest.fixture
def summary():
    return json.loads(EXAMPLES[0].read_text())


def written(folder, summary, name="summary.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(summary))
    return folder / name


def test_a_point_has_the_average_of_its_summary_or_one_benchmark(summary):
    (average,) = read_points(EXAMPLES[:1])
    (single,) = read_points(EXAMPLES[:1], "gsm8k")
    assert average.name == summary["name"] == "base"
    assert average.accuracy == Interval(**summary["average"]["avg"])
    assert single.length == Interval(**summary["benchmarks"]["gsm8k"]["length"])
    assert average.efficiency == pytest.approx(summary["average"]["eff"]["value"], abs=0.01)


def test_a_folder_stands_for_the_summary_in_it(tmp_path, summary):
    written(tmp_path, summary)
    assert read_points([tmp_path]) == read_points(EXAMPLES[:1])


def test_points_come_in_the_order_given():
    assert [point.name for point in read_points(EXAMPLES[::-1])] == [
        "run-d",
        "run-c",
        "run-b",
        "run-a",
        "base",
    ]


def test_a_file_that_is_no_summary_is_refused_with_its_name(tmp_path, summary):
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not JSON"):
        read_points([broken])
    for content in ([], {"schema": "verl_egrsd.summary/9"}):
        with pytest.raises(ValueError, match=r"has the schema .*, not 'verl_egrsd\.summary/1'"):
            read_points([written(tmp_path, content)])
    with pytest.raises(FileNotFoundError):
        read_points([tmp_path / "none.json"])


def test_two_summaries_of_one_name_are_refused(tmp_path, summary):
    copy = written(tmp_path, summary)
    with pytest.raises(ValueError, match=r"are both called 'base': give one another name"):
        read_points([EXAMPLES[0], copy])


def test_averages_over_different_benchmarks_do_not_compare_but_a_shared_benchmark_does(tmp_path, summary):
    del summary["benchmarks"]["minerva"]
    fewer = written(tmp_path, summary | {"name": "fewer"})
    with pytest.raises(ValueError, match="different problems cannot be compared"):
        read_points([EXAMPLES[0], fewer])
    assert len(read_points([EXAMPLES[0], fewer], "gsm8k")) == 2
    with pytest.raises(ValueError, match=r"has no benchmark 'minerva'; it has aime24,"):
        read_points([EXAMPLES[0], fewer], "minerva")


def test_different_numbers_of_problems_do_not_compare(tmp_path, summary):
    summary["benchmarks"]["gsm8k"]["problems"] = 100
    other = written(tmp_path, summary | {"name": "other"})
    with pytest.raises(ValueError, match=r"gsm8k \(1319 problems\), but .* covers gsm8k \(100 problems\)"):
        read_points([EXAMPLES[0], other], "gsm8k")


def test_a_summary_without_a_length_is_refused(tmp_path, summary):
    del summary["average"]["length"]
    with pytest.raises(ValueError, match="has no length"):
        read_points([written(tmp_path, summary)])


@pytest.mark.parametrize(
    ("accuracy", "length"),
    [
        (Interval(65.0, 61.0, 69.0), Interval(10, 9, 11)),
        (Interval(0.5, 0.6, 0.7), Interval(10, 9, 11)),
        (Interval(0.5, 0.4, 0.6), Interval(0, 0, 1)),
        (Interval(float("nan"), 0.4, 0.6), Interval(10, 9, 11)),
    ],
    ids=["percent", "outside", "no_tokens", "nan"],
)
def test_what_is_no_accuracy_or_length_is_refused(accuracy, length):
    with pytest.raises(ValueError, match="it must be a"):
        Point("x", accuracy, length)


@pytest.mark.parametrize("model", PUBLISHED_MODELS)
def test_the_published_averages_are_those_of_their_six_benchmarks(model):
    text = files("verl_egrsd.evaluation").joinpath("published.json").read_text()
    for row in json.loads(text)["models"][model]["rows"]:
        assert row["avg"] == pytest.approx(sum(row[name] for name in SIX) / 6, abs=0.0051), row["method"]


def test_the_published_efficiencies_are_those_of_the_paper():
    points = published_points("qwen3_4b").points
    printed = [5.96, 6.05, 5.58, 5.65, 5.86, 6.08, 6.06]
    assert [round(point.efficiency, 2) for point in points] == printed
    assert not any(point.about for point in points)


@pytest.mark.parametrize(
    ("model", "first", "egrsd", "cl_egrsd"),
    [("qwen3_4b", "DAPD", 63.20, 62.91), ("qwen3_8b", "PAINT", 64.03, 66.57)],
)
def test_later_accuracies_stand_beside_the_papers_over_the_same_benchmarks(model, first, egrsd, cl_egrsd):
    later = published_points(model).later
    accuracies = {row.name: 100 * row.accuracy for row in later}
    assert accuracies["EGRSD"] == pytest.approx(egrsd, abs=0.005)
    assert accuracies["CL-EGRSD"] == pytest.approx(cl_egrsd, abs=0.005)
    assert later[0].name == first
    assert [*accuracies.values()] == sorted(accuracies.values(), reverse=True)
    assert all(row.source.startswith("arXiv 26") for row in later)


def test_the_terminal_and_the_page_list_later_accuracies_with_source_and_protocol(tmp_path):
    told = frontier(EXAMPLES[:1], tmp_path, published="qwen3_4b")
    page = (tmp_path / "frontier.html").read_text()
    assert "Published accuracies for Qwen3-4B, mean of AIME24, AIME25, HMMT25" in told
    for text in (told, page):
        assert "arXiv 2608.06243, 4 seeds" in text
    assert "nobody compared these methods under one protocol" in page
    assert "Published accuracies" not in frontier(EXAMPLES[:1], tmp_path)


def test_approximate_lengths_keep_their_mark():
    points = {point.name: point for point in published_points("qwen3_8b").points}
    exact = {"OPSD", "EGRSD", "CL-EGRSD"}
    assert {name for name, point in points.items() if not point.about} == exact
    assert points["CL-EGRSD"].place == (pytest.approx(0.6932), 12_232)
