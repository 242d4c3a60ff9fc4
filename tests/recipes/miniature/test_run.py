"""The whole miniature, with a model of two training steps; everything but its size is real."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from dataclasses import replace

import pytest

from recipes.miniature import measurement, record
from recipes.miniature import run as command
from recipes.miniature.arms import find_arms
from recipes.miniature.measurement import Plan
from recipes.miniature.trainings import training_jobs
from recipes.rehearsal import build as rehearsal_build
from recipes.rehearsal.build import BuildSettings
from tests.support import warm_python
from verl_egrsd.report.history import read_steps, training_steps

TIME_LIMIT = 600
"""Seconds; on two idle cores it takes about a third of that."""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder to work in, a model that is hardly trained, one update, four problems."""
    monkeypatch.chdir(tmp_path)
    # The commands that the miniature starts find `recipes` where a user has it: in the checkout.
    for name, value in warm_python.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(measurement.TRAINING, "OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "executable", warm_python.python())
    build = BuildSettings(roles="miniature", steps=2, train_rows=64, validation_rows=8)
    monkeypatch.setattr(measurement, "BUILD", build)
    monkeypatch.setattr(rehearsal_build, "MEASURED_ROWS", 8)
    monkeypatch.setattr(command, "QUICK", Plan(seeds=(0, 1), steps=1, problems=4))
    monkeypatch.setattr(measurement, "TRAIN_LIMIT", TIME_LIMIT)
    return tmp_path


@pytest.mark.ray
@pytest.mark.timeout(TIME_LIMIT + 60)
def test_the_command_trains_evaluates_and_writes_the_page_and_then_has_nothing_to_do(small, capsys):
    arguments = ["--quick", "--arms", "cl_egrsd"]
    assert command.main(arguments) == 0, capsys.readouterr().err
    out = small / "outputs" / "mini_frontier_quick"
    numbers = json.loads((out / "results.json").read_text())
    assert list(numbers) == ["cl_egrsd"]
    assert len(numbers["cl_egrsd"]["seeds"]) == 2
    assert numbers["cl_egrsd"]["training"]["gate"] < 1
    text = (out / "index.md").read_text()
    assert "CL-EGRSD against" not in text  # its questions ask for EGRSD and GRPO
    assert "1 arms, 2 seeds, 1 updates" in text
    assert "sampled tokens differ by at most" in text
    assert (out / "frontier.png").stat().st_size > 10_000
    for name in ("cl_egrsd-0", "cl_egrsd-1"):
        (step,) = training_steps(read_steps(out / "runs" / name / "report.jsonl"))
        # vLLM, too, was given back the weights that every run begins with.
        assert step["training/rollout_probs_diff_max"] < 1e-4
        assert (out / "evaluations" / name / "summary.json").exists()

    # What is kept suffices elsewhere: nothing is trained or evaluated again, and the page is the same.
    shutil.copytree(out / "kept", small / "elsewhere" / "kept")
    assert command.main([*arguments, "--out", str(small / "elsewhere")]) == 0
    assert not (small / "elsewhere" / "runs").exists()
    assert (small / "elsewhere" / "index.md").read_text() == text

    measured = measurement.Measurement(out, replace(command.QUICK, steps=7), find_arms(["cl_egrsd"]))
    with pytest.raises(ValueError, match=r"cl_egrsd-0\.json belongs to a measurement with other settings"):
        measured.begin()


def test_an_unknown_arm_is_refused_before_anything_is_built(small, capsys):
    assert command.main(["--quick", "--arms", "ppo"]) == 1
    assert "'ppo' is unknown" in capsys.readouterr().err
    assert not (small / ".cache").exists()


def test_a_part_holds_runs_of_one_start_and_the_seeds_of_the_page_come_one_after_another(small, monkeypatch):
    monkeypatch.setattr(measurement, "RUNS_PER_PART", 3)
    arms = find_arms(["untrained", "sft", "opsd", "egrsd", "sdar"])
    found = measurement.Measurement(small / "out", Plan(seeds=(0, 1)), arms)
    assert [[run.name for run in part] for part in found.parts()] == [
        ["sft-0", "sft-1"],
        ["opsd-0", "egrsd-0", "opsd-1"],
        ["egrsd-1"],
        ["sdar-0", "sdar-1"],
    ]


def test_supervised_runs_are_jobs_of_their_own_and_others_share_one(small):
    found = measurement.Measurement(small / "out", Plan(seeds=(0, 1)), find_arms(["sft", "opsd", "egrsd"]))
    supervised, shared = (training_jobs(part, found.out, 2) for part in found.parts())
    assert [job.log.name for job in supervised] == ["train-sft-0.log", "train-sft-1.log"]
    (job,) = shared
    assert job.command[5:].count("opsd-0") == job.command[5:].count("egrsd-1") == 1


def test_the_page_shows_what_has_been_measured_when_a_part_ends(small, monkeypatch):
    monkeypatch.setattr(measurement, "measure", lambda arm, kept: kept)
    monkeypatch.setattr(measurement, "read_kept_run", lambda file, _: file.stem)
    monkeypatch.setattr(measurement.Measurement, "common", {})
    found = measurement.Measurement(
        small / "out", Plan(seeds=(0, 1)), find_arms(["untrained", "opsd", "tip"])
    )
    for name in (found.untrained, "opsd-1"):
        found.kept_file(name).parent.mkdir(parents=True, exist_ok=True)
        found.kept_file(name).touch()
    assert found.measured() == {"untrained": ["untrained-x2"], "opsd": ["opsd-1"]}


def test_a_run_that_is_kept_is_not_made_again_and_another_names_the_commit_that_it_was_trained_at(
    small, monkeypatch
):
    monkeypatch.setattr(measurement, "run_jobs", lambda jobs, **_: started.extend(jobs))
    kept, commits = [], iter(["trained", "evaluated"])
    monkeypatch.setattr(measurement, "keep_run", lambda *_, made, **__: kept.append(made))
    monkeypatch.setattr(measurement, "_made", lambda *_: {})
    monkeypatch.setattr(measurement, "_commit", lambda: next(commits))
    monkeypatch.setattr(measurement, "write_kept_run", lambda file, _: file.touch())
    monkeypatch.setattr(measurement.Measurement, "common", {})
    found = measurement.Measurement(small / "out", Plan(seeds=(0, 1)), find_arms(["opsd"]))
    found.kept_file("opsd-1").parent.mkdir(parents=True)
    found.kept_file("opsd-1").touch()
    (part,), started = found.parts(), []
    found.train(part)
    found.evaluate(part)
    train, evaluate = started
    assert "opsd-0" in train.command
    assert "opsd-1" not in train.command
    assert evaluate.log.name == "opsd-0.log"
    assert kept == [{"commit": "trained"}]
    found.train(part)
    found.evaluate(part)
    assert len(started) == 2


def test_the_page_names_every_machine_and_how_many_runs_it_made():
    assert record._counted(["a", "a"]) == "a"
    assert record._counted(["b", "a", "b"]) == "a (in 1); b (in 2)"
    versions = [{"vllm": "1"}, {"vllm": "1", "ray": "2"}, {"vllm": "1", "ray": "3"}]
    assert record._versions(versions) == "ray 2 (in 1); 3 (in 1), vllm 1"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_is_one_sentence_that_says_what_is_kept(small, monkeypatch, capsys, number, code):
    monkeypatch.setattr(measurement.Measurement, "begin", lambda self: signal.raise_signal(number))
    with pytest.raises(SystemExit) as left:
        command.main(["--quick", "--arms", "egrsd"])
    assert left.value.code == code
    assert capsys.readouterr().err == (
        "mini_frontier: interrupted; finished runs are kept, and the same command goes on from there.\n"
    )
