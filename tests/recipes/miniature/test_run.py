"""The whole miniature, with a model of two training steps; everything but its size is real."""

from __future__ import annotations

import json
import sys

import pytest

from recipes.miniature import measurement
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
    arguments = ["--quick", "--arms", "untrained", "cl_egrsd"]
    assert command.main(arguments) == 0, capsys.readouterr().err
    out = small / "outputs" / "mini_frontier_quick"
    numbers = json.loads((out / "results.json").read_text())
    assert list(numbers) == ["untrained", "cl_egrsd"]
    assert [len(found["seeds"]) for found in numbers.values()] == [1, 2]
    assert numbers["cl_egrsd"]["training"]["gate"] < 1
    text = (out / "index.md").read_text()
    assert "CL-EGRSD against" not in text  # its questions ask for EGRSD and GRPO
    assert "2 arms, 2 seeds, 1 updates" in text
    assert "sampled tokens differ by at most" in text
    assert (out / "frontier.png").stat().st_size > 10_000
    for name in ("cl_egrsd-0", "cl_egrsd-1"):
        (step,) = training_steps(read_steps(out / "runs" / name / "report.jsonl"))
        # vLLM, too, was given back the weights that every run begins with.
        assert step["training/rollout_probs_diff_max"] < 1e-4
        assert (out / "evaluations" / name / "summary.json").exists()

    log = (out / "logs" / "train-cl_egrsd-0.log").stat().st_mtime_ns
    assert command.main(arguments) == 0
    assert (out / "logs" / "train-cl_egrsd-0.log").stat().st_mtime_ns == log


def test_a_folder_with_another_measurement_is_refused(small, capsys):
    out = small / "out"
    out.mkdir()
    (out / "plan.json").write_text(json.dumps({"steps": 7}))
    assert command.main(["--quick", "--out", str(out)]) == 1
    assert "holds a measurement with other settings" in capsys.readouterr().err
    assert not (small / ".cache").exists()


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
    monkeypatch.setattr(measurement, "measure", lambda arm, folders, _: [path.name for path in folders])
    found = measurement.Measurement(
        small / "out", Plan(seeds=(0, 1)), find_arms(["untrained", "opsd", "tip"])
    )
    for name in (found.untrained, "opsd-1"):
        found.evaluation(name).mkdir(parents=True)
        (found.evaluation(name) / "summary.json").touch()
    assert found.measured() == {"untrained": ["untrained-x2"], "opsd": ["opsd-1"]}


def test_a_measurement_in_parts_names_every_commit_that_a_part_began_at(small, monkeypatch):
    monkeypatch.setattr(measurement, "build", lambda *_: None)
    found = measurement.Measurement(small / "out", Plan(), [])
    for commit in ("aaaaaaa", "aaaaaaa", "bbbbbbb"):
        monkeypatch.setattr(measurement, "_commit", lambda commit=commit: commit)
        found.begin()
    assert found.commits() == ["aaaaaaa", "bbbbbbb"]
