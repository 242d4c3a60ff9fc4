"""Pooled seeds, differences that count, and the words for them."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import zip_longest

import numpy as np
import pytest

from recipes.miniature.arms import ARMS
from recipes.miniature.kept import keep_run, read_kept_run, write_kept_run
from recipes.miniature.page import findings, in_words, page, pictures, results_table
from recipes.miniature.questions import Question
from recipes.miniature.results import Difference, differences, holm, measure, pool, two_sided_p
from verl_egrsd.evaluation.samples import SAMPLES, SAMPLES_SCHEMA, SETTINGS, Sample
from verl_egrsd.evaluation.tables import Table, read_tables
from verl_egrsd.output.intervals import Interval

PROBLEMS = 200
PLAN = {"steps": 2}


def evaluation(folder, right, tokens, problem="p"):
    """An evaluation with one answer per problem: the first `right` problems solved, with `tokens` tokens."""
    folder.mkdir(parents=True)
    facts = {"benchmarks": {"sums": {"problems": PROBLEMS, "samples": 1}}, "settings": {}}
    (folder / SETTINGS).write_text(
        json.dumps({"schema": SAMPLES_SCHEMA, "name": folder.name, "identity": facts})
    )
    samples = [
        Sample("sums", f"{problem}{i:03}", i, 0, 0, tokens + i % 5, "stop", "1", i < right, "correct", "text")
        for i in range(PROBLEMS)
    ]
    (folder / SAMPLES).write_text("".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
    return folder


def training(folder, gate):
    """A training of two steps with a mean gate."""
    folder.mkdir(parents=True)
    data = {"training/global_step": 1, "egrsd/entropy_gate/mean": gate, "egrsd/regime/fork": 0.02}
    lines = [json.dumps({"step": step, "data": data}) + "\n" for step in (1, 2)]
    (folder / "report.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def arm(tmp_path):
    """An arm from what its seeds reached: (right answers, tokens) each."""

    def made(name, *seeds, gates=()):
        folders = [
            evaluation(tmp_path / name / str(seed), right, tokens)
            for seed, (right, tokens) in enumerate(seeds)
        ]
        trainings = [training(tmp_path / name / f"t{i}", gate) for i, gate in enumerate(gates)]
        runs = [
            keep_run(folder, training, made={"date": "today"}, plan=PLAN)
            for folder, training in zip_longest(folders, trainings)
        ]
        return measure(ARMS[name], runs)

    return made


def test_a_kept_run_is_read_as_it_was_measured(tmp_path):
    evaluated, trained = evaluation(tmp_path / "e", 140, 60), training(tmp_path / "t", 0.8)
    run = keep_run(evaluated, trained, made={"date": "today"}, plan=PLAN)
    file = tmp_path / "kept" / "egrsd-0.json"
    write_kept_run(file, run)
    assert read_kept_run(file, PLAN) == run
    (before,), after = read_tables(evaluated).values(), run.table()
    for column in ("tokens", "correct", "truncated"):
        assert np.array_equal(getattr(after, column), getattr(before, column))
    assert run.training["gate"] == pytest.approx(0.8)
    assert file.stat().st_size < 7 * PROBLEMS


def test_kept_runs_over_other_problems_have_other_ids(tmp_path):
    one, other = (
        keep_run(evaluation(tmp_path / name, 140, 60, name), None, made={}, plan=PLAN) for name in ("p", "q")
    )
    assert set(one.table().ids).isdisjoint(other.table().ids)


@pytest.mark.parametrize(
    ("change", "says"), [({"plan": {"steps": 7}}, "other settings"), ({"schema": "9"}, "has not the schema")]
)
def test_a_kept_run_of_another_measurement_is_refused_by_its_file(tmp_path, change, says):
    file = tmp_path / "egrsd-0.json"
    write_kept_run(file, keep_run(evaluation(tmp_path / "e", 140, 60), None, made={}, plan=PLAN))
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=rf"egrsd-0\.json .*{says}"):
        read_kept_run(file, PLAN)


def test_the_seeds_of_an_arm_are_pooled_and_listed(arm):
    found = arm("egrsd", (140, 60), (160, 64), gates=(0.8, 0.9))
    assert found.interval("accuracy").value == pytest.approx(0.75)
    assert found.interval("length").value == pytest.approx(64)
    assert [seed["accuracy"] for seed in found.seeds] == [0.7, 0.8]
    assert found.training["gate"] == pytest.approx(0.85)
    assert found.training["forks"] == pytest.approx(0.02)


def test_a_difference_is_clear_when_interval_and_seeds_agree(arm):
    arms = {
        "rlsd": arm("rlsd", (150, 60), (152, 61)),
        "egrsd": arm("egrsd", (150, 70), (151, 71)),
        "shuffled": arm("shuffled", (120, 60), (180, 62)),
    }
    questions = [Question("egrsd", "rlsd", ""), Question("shuffled", "rlsd", ""), Question("sft", "rlsd", "")]
    (_, gate), (_, control) = differences(questions, arms)
    assert gate["length"].clear
    assert gate["length"].found.value == pytest.approx(10)
    assert not gate["accuracy"].clear
    # The pooled interval of the length leaves out zero, but one seed of each lies on the wrong side.
    assert control["length"].found.low > 0
    assert control["length"].p < 0.05
    assert not control["length"].clear


def test_holms_correction_of_a_worked_example():
    """Four p-values: the smallest times 4, the next times 3, and never below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_p_value_is_that_of_the_normal_distribution():
    replicates = np.random.default_rng(0).normal(1.96, 1.0, 400_000)
    assert two_sided_p(np.concatenate([[1.96], replicates])) == pytest.approx(0.05, abs=5e-4)
    assert two_sided_p(np.array([0.0, 0.0, 0.0])) == 1
    assert two_sided_p(np.array([3.0, 3.0, 3.0])) == 0


def test_a_difference_that_is_clear_alone_may_be_chance_among_many(arm):
    arms = {"rlsd": arm("rlsd", (130, 60), (131, 60)), "egrsd": arm("egrsd", (136, 60), (137, 60))}
    question = Question("egrsd", "rlsd", "")
    (_, alone), *_ = differences([question], arms)
    (_, among), *_ = differences([question] * 400, arms)
    assert among["accuracy"].p > alone["accuracy"].p
    assert alone["accuracy"].clear
    assert not among["accuracy"].clear


def test_tables_over_other_problems_are_not_pooled():
    ones = np.ones((2, 1))
    tables = [Table(ids, ones, ones, ones, ones[:, 0]) for ids in (("a", "b"), ("a", "c"))]
    with pytest.raises(ValueError, match="different problems"):
        pool(tables)


@pytest.mark.parametrize(
    ("metric", "difference", "words"),
    [
        ("length", Difference(Interval(-4.0, -5.0, -3.0), 0.0, True), "shorter (-4.0 tokens"),
        ("accuracy", Difference(Interval(0.02, 0.01, 0.03), 0.0, True), "more accurate (+2.0 poi"),
        ("accuracy", Difference(Interval(0.02, -0.01, 0.03), 0.3, False), "no clear difference"),
    ],
)
def test_a_difference_is_said_in_words(metric, difference, words):
    assert in_words(metric, difference).startswith(words)


def test_the_page_has_a_row_per_arm_and_an_answer_per_question(arm):
    arms = {
        "untrained": arm("untrained", (140, 80)),
        "rlsd": arm("rlsd", (150, 60), (152, 61), gates=(1.0,)),
        "egrsd": arm("egrsd", (150, 70), (151, 71), gates=(0.85,)),
    }
    table = results_table(arms)
    cells = [cell.strip() for cell in table.splitlines()[-1].split("|")]
    assert cells[1:3] == ["EGRSD", "`egrsd`"]
    assert [cells[4], cells[6]] == ["75.0, 75.5", "72.0, 73.0"]
    assert cells[3].startswith("75.2 [")
    assert cells[5].startswith("72.5 [")
    assert "0.850" in table
    assert findings(arms).count("- **") == 1  # of the questions, one names two of these arms
    assert "2 differences were tested" in findings(arms)
    assert "EGRSD against RLSD (gate off): no clear difference in accuracy" in findings(arms)
    text = page(arms, {"about": "Three arms.", "how": {"date": "today", "seconds": {"train": 5}}})
    assert "Three arms." in text
    assert "- seconds: train 5" in text


def test_arms_that_beat_the_untrained_model_have_a_picture_of_their_own_where_others_do_not(arm):
    arms = {"untrained": arm("untrained", (140, 80)), "sft": arm("sft", (20, 40))}
    arms |= {name: arm(name, (150, 60)) for name in ("rlsd", "egrsd")}
    every, near = pictures(arms)
    assert [point.name for point in every.points] == [
        "no training",
        "SFT, rate 2e-3",
        "RLSD (gate off)",
        "EGRSD",
    ]
    assert [point.name for point in near.points] == ["RLSD (gate off)", "EGRSD"]
    assert "(frontier_near.png)" in page(arms, {"about": "", "how": {}})
    del arms["sft"]
    assert [drawn.file for drawn in pictures(arms)] == ["frontier"]
