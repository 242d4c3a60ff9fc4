"""A result counts when it is there, whole, of these settings, and newer than what it was made from."""

import json
import os

import pandas as pd
import pytest

from data_prep.card import JSON_CARD
from recipes.reproduce.plan import SMALL_BENCHMARKS
from recipes.reproduce.stages import STAGES
from recipes.reproduce.trainings import STEPS_FILE, training
from recipes.reproduce.valid import CARD
from tests.support.saved_run import write_step
from verl_egrsd.evaluation.published import published_problems
from verl_egrsd.report import run as report_run

from .builders import make_plan_in, write_results


def lacks(plan, stage, name=None):
    """What the first result of a stage lacks, or that of one command."""
    return next(work for work in STAGES[stage](plan) if name in (None, work.name)).lacks()


def make_older(path, seconds=100):
    time = path.stat().st_mtime - seconds
    os.utime(path, (time, time))


def trained(run, step=None):
    return write_step(run.folder / "checkpoints", step or run.plan.steps, supervised=run.arm == "sft")


def test_files_have_the_names_that_their_writers_give_them():
    assert (CARD, STEPS_FILE) == (JSON_CARD, report_run.STEPS_FILE)


def test_a_model_is_there_when_all_parts_of_its_weights_are(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    plan = make_plan_in(tmp_path, weights=str(model))
    (model / "config.json").write_text("{}")
    (model / "tokenizer_config.json").write_text("{}")
    assert lacks(plan, "model") == f"{model} has no model.safetensors here"
    parts = {"a.weight": "part-1.safetensors", "b.weight": "part-2.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    (model / "part-1.safetensors").touch()
    assert lacks(plan, "model") == f"{model} has no part-2.safetensors here"
    (model / "part-2.safetensors").touch()
    assert lacks(plan, "model") is None


def test_benchmarks_are_there_when_each_has_all_its_problems(tmp_path):
    plan = make_plan_in(tmp_path, hardware="cpu")
    (tmp_path / "benchmarks").mkdir()
    for name, rows in SMALL_BENCHMARKS.items():
        pd.DataFrame({"x": range(rows)}).to_parquet(tmp_path / "benchmarks" / f"{name}.parquet")
    assert lacks(plan, "benchmarks") is None
    pd.DataFrame({"x": range(3)}).to_parquet(tmp_path / "benchmarks" / "sums_first.parquet")
    assert "has 3 rows, not 64" in lacks(plan, "benchmarks")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"benchmarks": {"aime24": 30}}, "was compared with 30 problems of benchmarks, not with 2181"),
        (
            {"options": {"source": "x", "tokenizer": "Qwen/Qwen3-4B"}},
            "with source=x, not somewhere",
        ),
        (
            {"options": {"source": "somewhere/data", "tokenizer": None}},
            "with tokenizer=None, not Qwen",
        ),
        ({"files": {"train.parquet": {"bytes": 7}}}, "is not as data_card.json describes it"),
    ],
)
def test_rows_count_when_they_were_compared_with_the_benchmarks_and_measured_with_the_tokenizer(
    tmp_path, change, said
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").write_bytes(b"12345")
    card = {
        "benchmarks": published_problems(),
        "files": {"train.parquet": {"bytes": 5}},
        "options": {"source": "somewhere/data", "tokenizer": "Qwen/Qwen3-4B"},
    }
    (tmp_path / "data" / CARD).write_text(json.dumps(card | change))
    found = lacks(make_plan_in(tmp_path), "data")
    assert found is None if said is None else said in found


@pytest.mark.parametrize("arm", ["egrsd", "sft"])
def test_a_run_is_trained_when_the_checkpoints_that_are_evaluated_are_whole(tmp_path, arm):
    plan = make_plan_in(tmp_path, arms=(arm,), checkpoints=(2,))
    (run,) = plan.runs
    assert "global_step_2 is not there" in lacks(plan, "train", f"train-{run.name}")
    assert training(run)[1]["RESUME"] == "disable"
    trained(run, 2)
    assert "global_step_4 is not there" in lacks(plan, "train", f"train-{run.name}")
    assert training(run)[1]["RESUME"] == "latest-whole"
    last = trained(run)
    assert lacks(plan, "train", f"train-{run.name}") is None
    weights = next(last.rglob("model_*.pt"))
    weights.write_bytes(weights.read_bytes()[:-10])
    assert weights.name in lacks(plan, "train", f"train-{run.name}")
    assert lacks(plan, "train", f"check-{arm}") is not None


def test_an_evaluation_counts_with_all_its_samples_until_its_checkpoint_changes(tmp_path):
    plan = make_plan_in(tmp_path, arms=("egrsd",))
    (run,) = plan.runs
    state = trained(run) / "egrsd.json"
    write_results(plan)
    make_older(state)
    assert lacks(plan, "evaluate", f"evaluate-{run.name}") is None
    samples = plan.evaluation(run.name) / "samples.jsonl"
    whole = samples.read_text()
    samples.write_text(whole[: whole.rindex("\n", 0, -1) + 1])
    assert "holds 89 of 90 samples" in lacks(plan, "evaluate", f"evaluate-{run.name}")
    samples.write_text(whole)
    make_older(state, -300)
    assert "is older than" in lacks(plan, "evaluate", f"evaluate-{run.name}")
    make_older(plan.evaluation(run.name) / "summary.json", -600)  # eval ran again, and accepted the samples
    assert lacks(plan, "evaluate", f"evaluate-{run.name}") is None
    (plan.evaluation("base") / "summary.json").unlink()
    assert "summary.json is not there" in lacks(plan, "evaluate", "evaluate-base")


def test_a_comparison_and_an_exported_model_are_made_again_after_what_they_were_made_from(tmp_path):
    plan = make_plan_in(tmp_path, arms=("egrsd",))
    (run,) = plan.runs
    state = trained(run) / "egrsd.json"
    write_results(plan)
    compared, exported = tmp_path / "comparisons" / f"{run.name}.json", run.exported / "adapter_config.json"
    for stage, result, source in (
        ("compare", compared, plan.evaluation("base") / "summary.json"),
        ("export", exported, state),
    ):
        assert "is not there" in lacks(plan, stage)
        result.parent.mkdir(parents=True)
        result.touch()
        make_older(source)
        for other in plan.out.glob("evaluations/*/summary.json"):
            make_older(other)
        assert lacks(plan, stage) is None
        make_older(source, -500)
        assert "is older than" in lacks(plan, stage)
        source.rename(source.with_name("gone"))
        assert f"{source}, which {result} was made from, is not there" in lacks(plan, stage)
        source.with_name("gone").rename(source)


def test_an_exported_model_has_its_evaluation_on_its_card_and_is_made_again_after_a_new_one(tmp_path):
    plan = make_plan_in(tmp_path, arms=("egrsd",))
    (run,) = plan.runs
    make_older(trained(run) / "egrsd.json")
    (work,) = STAGES["export"](plan)
    assert "--evaluation" not in work.command
    run.exported.mkdir(parents=True)
    (run.exported / "adapter_config.json").touch()
    assert work.lacks() is None
    write_results(plan)
    make_older(plan.evaluation(run.name) / "summary.json", -100)
    (work,) = STAGES["export"](plan)
    assert work.command[-2:] == ["--evaluation", str(plan.evaluation(run.name))]
    assert "is older than" in work.lacks()


@pytest.mark.parametrize(("problems", "published"), [(None, True), (30, True), (20, False)])
def test_the_comparison_asks_for_published_results_only_where_a_benchmark_is_whole(
    tmp_path, problems, published
):
    plan = make_plan_in(tmp_path, arms=("egrsd",), problems=problems)
    (work,) = STAGES["compare"](plan)
    assert ("--published" in work.command) == published


def test_an_evaluation_takes_the_gpus_of_the_plan(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    work = next(STAGES["evaluate"](make_plan_in(tmp_path, gpus="4", nodes=2)))
    assert work.command[work.command.index("--replicas") + 1] == "4"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    work = next(STAGES["evaluate"](make_plan_in(tmp_path, gpus="4", nodes=2)))
    assert work.command[work.command.index("--replicas") + 1] == "8"
