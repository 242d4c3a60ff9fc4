"""What a finished evaluation leaves behind."""

import json

import pytest

from verl_egrsd.evaluation.summary import summarise, terminal_table, write_summary

from .builders import make_samples, write_evaluation

EASY = make_samples([[(100, True), (140, True)], [(120, True), (160, False)]], "easy")
HARD = make_samples([[(1000, False), (1200, False)], [(900, True), (32_768, False)]], "hard")


@pytest.fixture
def folder(tmp_path):
    return write_evaluation(tmp_path / "run", EASY + HARD, name="first", samples=2)


def test_the_summary_has_the_documented_form(folder):
    summary = write_summary(folder, replicates=100)
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert list(summary) == [
        *("schema", "name", "model", "settings", "versions", "date", "benchmarks", "average"),
    ]
    assert summary["schema"] == "verl_egrsd.summary/1"
    assert (summary["name"], summary["model"], summary["date"]) == ("first", "models/x", "2026-01-02")
    easy, hard = summary["benchmarks"].values()
    assert set(easy) == {
        *("problems", "samples", "avg", "pass@1", "pass@2", "maj", "length", "length_p50", "length_p90"),
        *("length_right", "length_wrong", "truncated", "eff"),
    }
    assert (easy["problems"], easy["samples"]) == (2, 2)
    assert (easy["avg"]["value"], hard["avg"]["value"]) == (0.75, 0.25)
    assert summary["average"]["avg"]["value"] == 0.5
    assert set(easy["avg"]) == {"value", "low", "high"}


def test_a_metric_without_a_value_is_absent_also_from_the_average(tmp_path):
    right = make_samples([[(10, True)], [(20, True)]], "right")
    summary = summarise(write_evaluation(tmp_path, right + EASY[::2], samples=1), replicates=100)
    assert "length_wrong" not in summary["benchmarks"]["right"]
    assert "length_wrong" not in summary["average"]
    assert summary["average"]["length_right"]["value"] == pytest.approx((15 + 110) / 2)


def test_the_same_samples_give_the_same_bytes(tmp_path, folder):
    write_summary(folder, replicates=100)
    other = write_evaluation(tmp_path / "other", HARD[::-1] + EASY[::-1], name="first", samples=2)
    write_summary(other, replicates=100)
    first, second = (json.loads((path / "summary.json").read_text()) for path in (folder, other))
    assert first == second


def test_the_page_and_the_terminal_show_every_benchmark_and_the_average(folder):
    summary = write_summary(folder, replicates=100)
    page = (folder / "summary.md").read_text()
    shown = terminal_table(summary)
    for text in (page, shown):
        assert "75.0 [" in text
        assert "| average " in text
        assert "| easy " in text
    assert "8,967 [" in page
    assert "p90" in page
    assert "pass@2" in page


def test_an_unfinished_evaluation_has_no_summary(folder):
    lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"holds 3 of 4 samples of hard: run the same eval again\."):
        write_summary(folder)
    assert not (folder / "summary.json").exists()
