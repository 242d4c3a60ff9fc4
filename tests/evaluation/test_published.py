"""Published results beside measured ones: where the problems are the paper's only."""

import json
from copy import deepcopy
from pathlib import Path

import pytest

from data_prep.benchmarks import BENCHMARKS
from verl_egrsd import cli
from verl_egrsd.evaluation.published import (
    LENGTH,
    PUBLISHED_MODELS,
    beside_markdown,
    beside_published,
    published_problems,
)
from verl_egrsd.evaluation.settings import PRESETS, Settings

from .builders import make_samples, write_evaluation

EXAMPLE = Path(__file__).parents[1] / "frontier" / "examples" / "base.json"


@pytest.fixture
def summary():
    found = json.loads(EXAMPLE.read_text())
    return found | {"settings": vars(PRESETS["paper"])}


def rows(beside):
    return {row["name"]: row for row in beside["rows"]}


def test_published_are_the_benchmarks_that_data_prep_writes():
    assert published_problems() == {name: benchmark.rows for name, benchmark in BENCHMARKS.items()}


@pytest.mark.parametrize("model", PUBLISHED_MODELS)
def test_every_benchmark_and_the_averages_have_their_published_values(summary, model):
    beside = beside_published([summary], model)
    assert list(rows(beside)) == [*BENCHMARKS, "average", LENGTH]
    for row in beside["rows"]:
        assert len(row["published"]) == 7
        assert row["published"].keys() >= {"no training", "EGRSD", "CL-EGRSD"}
    assert not beside["notes"]


def test_a_row_has_the_measured_interval_and_the_papers_number(summary):
    found = rows(beside_published([summary], "qwen3_4b"))
    assert found["hmmt_feb_2025"]["measured"] == {"base": summary["benchmarks"]["hmmt_feb_2025"]["avg"]}
    assert found["hmmt_feb_2025"]["published"]["EGRSD"] == pytest.approx(0.4292)
    assert found["average"]["published"]["no training"] == pytest.approx(0.6559)
    assert found[LENGTH]["published"]["EGRSD"] == 11_064
    assert found[LENGTH]["measured"] == {"base": summary["average"]["length"]}


def test_the_table_shows_percent_and_tokens(summary):
    shown = beside_markdown(beside_published([summary], "qwen3_4b"))
    lines = {line.split("|")[1].strip(): line for line in shown.splitlines() if line.startswith("|")}
    assert "77.9" in lines["aime24"]
    assert "[" in lines["aime24"]
    assert "11,064" in lines[LENGTH]
    assert "base, measured" in lines["benchmark"]
    assert "arXiv 2605.13255v1" in shown
    assert "one run each, without intervals" in shown


def test_other_problems_have_no_published_value_and_nor_have_averages_over_them(summary):
    fewer = deepcopy(summary)
    fewer["benchmarks"]["gsm8k"]["problems"] = 100
    fewer["benchmarks"]["sums"] = fewer["benchmarks"].pop("minerva")
    beside = beside_published([fewer], "qwen3_4b")
    without = {name for name, row in rows(beside).items() if not row["published"]}
    assert without == {"gsm8k", "sums", "average", LENGTH}
    assert "gsm8k (1,319 problems)" in beside["notes"][0]
    assert "| -" in beside_markdown(beside)


def test_an_evaluation_of_none_of_the_benchmarks_is_refused(summary):
    summary["benchmarks"] = {"sums": summary["benchmarks"]["gsm8k"]}
    with pytest.raises(ValueError, match=r"covers sums .*, but published are aime24 \(30 problems\)"):
        beside_published([summary], "qwen3_4b")


def test_evaluations_of_different_benchmarks_are_refused(summary):
    other = deepcopy(summary) | {"name": "other"}
    del other["benchmarks"]["gsm8k"]
    with pytest.raises(ValueError, match=r"base covers .*, but other covers .*: evaluate both"):
        beside_published([summary, other], "qwen3_4b")


def test_what_is_not_the_papers_protocol_is_said_and_precision_is_not(summary):
    settings = vars(Settings(max_new_tokens=4096, samples=16, dtype="float16", seed=3))
    notes = beside_published([summary | {"settings": settings}], "qwen3_4b")["notes"]
    assert notes == ["Not the paper's protocol: max_new_tokens is 4096 for base, 32768 in the paper."]


def test_compare_shows_the_published_rows_of_one_evaluation_or_of_several(tmp_path, capsys):
    folders = [
        write_evaluation(tmp_path / name, make_samples([[(10, True)]] * 30, "aime24"), name="run", samples=1)
        for name in ("a", "b")
    ]
    out = tmp_path / "new" / "found.json"
    command = ["compare", str(folders[0]), "--published", "qwen3_8b", "--json", str(out)]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "100.0 [100.0, 100.0]" in shown
    assert "77.2" in shown
    (found,) = json.loads(out.read_text())
    assert found["published"]["model"] == "Qwen3-8B"
    assert cli.main(["compare", *map(str, folders), "--published", "qwen3_8b"]) == 0
    shown = capsys.readouterr().out
    assert "Neither dominates" in shown
    assert f"{folders[1]}, measured" in shown  # two evaluations of one name are told apart
    assert cli.main(["compare", str(folders[0])]) == 1
    assert "or --published" in capsys.readouterr().err
