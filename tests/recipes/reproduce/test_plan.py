"""What a reproduction may be asked for, and what one folder may hold."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from recipes.environment import RECIPES
from recipes.reproduce import refused
from recipes.reproduce import run as command
from recipes.reproduce.plan import ARMS, GPU, HARDWARE, SFT, read_plan
from recipes.reproduce.refused import Asked
from recipes.reproduce.trainings import training
from tests.support.recipes import REPOSITORY
from verl_egrsd.evaluation.published import published_results
from verl_egrsd.preflight import attention

from .builders import make_plan_in


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": ("grpo", "egrds")}, "ARMS: 'egrds' is unknown; known arms: sft grpo"),
        ({"seeds": ()}, "at least one arm and one seed"),
        ({"seeds": (1, 1)}, "SEEDS=1 1 names one twice"),
        ({"steps": 0}, "STEPS, PROBLEMS, GPUS and NNODES must be at least 1"),
        ({"problems": 0}, "must be at least 1"),
        ({"gpus": "0"}, "must be at least 1"),
        ({"checkpoints": (5,)}, "CHECKPOINTS must be steps from 1 to STEPS=4"),
    ],
)
def test_what_no_run_can_be_is_refused(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        make_plan_in(tmp_path, **changes)


def test_a_folder_takes_more_arms_and_seeds_and_no_other_settings(tmp_path):
    plan = make_plan_in(tmp_path)
    plan.record()
    (tmp_path / "data").mkdir()
    replace(plan, arms=("sft",), seeds=(1,), gpus="4").record()
    found = read_plan(tmp_path)
    assert (found.arms, found.seeds, found.gpus) == (("sft", "grpo", "egrsd"), (0, 1), "4")
    with pytest.raises(ValueError, match=r"holds a reproduction with STEPS=4, not 5: .* \(OUT\)"):
        replace(plan, steps=5).record()
    with pytest.raises(ValueError, match=r"with MODEL=Qwen/Qwen3-4B, not own/model: use the same value"):
        replace(plan, weights="own/model").require_same_settings()
    with pytest.raises(ValueError, match="with CHECKPOINTS=none, not 2 4: use the same value"):
        replace(plan, checkpoints=(2, 4)).require_same_settings()
    assert read_plan(tmp_path) == found


def test_a_folder_without_results_takes_other_settings(tmp_path):
    plan = make_plan_in(tmp_path, weights="own/slip-of-the-pen")
    plan.record()
    (tmp_path / "logs").mkdir()
    replace(plan, weights="own/model").record()
    assert read_plan(tmp_path).weights == "own/model"


def test_each_arm_is_a_row_of_the_papers_table_or_none():
    methods = {row["method"] for row in published_results()["models"]["qwen3_4b"]["rows"]}
    assert {method for _, method in ARMS.values() if method} | {"no training"} == methods


@pytest.mark.parametrize("model", ["qwen3_4b", "qwen3_8b"])
def test_each_arm_has_its_recipe(model):
    assert all((REPOSITORY / "recipes" / f"{arm}_{model}.sh").exists() for arm in ARMS)


@pytest.mark.parametrize("arm", ARMS)
def test_a_training_on_gpus_is_the_arms_recipe_with_variables_that_it_reads(tmp_path, arm):
    (run,) = make_plan_in(tmp_path, arms=(arm,), seeds=(3,), checkpoints=(2,)).runs
    words, environment = training(run)
    assert words == ["bash", f"recipes/{arm}_qwen3_4b.sh", "trainer.save_freq=1"]
    assert environment["SEED"] == "3"
    assert environment["TRAIN_FILE"] == str(tmp_path / "data" / "train.parquet")
    known = {*RECIPES["sft_gpu" if arm == SFT else "train_gpu"]}
    assert environment.keys() <= known
    checked = training(run, check=True)[1]
    assert checked.keys() - environment.keys() == {"CHECK"} <= known
    (run,) = make_plan_in(tmp_path, arms=(arm,), hardware="gpu4", nodes=2).runs
    more = dict(training(run)[1].items() - environment.items())
    assert {"HARDWARE", "NNODES"} & more.keys() == (set() if arm == SFT else {"HARDWARE", "NNODES"})


def test_the_hardware_is_that_of_the_presets():
    presets = {path.stem for path in (REPOSITORY / "verl_egrsd/configs/hardware").glob("*.yaml")}
    assert {GPU, *presets} == {*HARDWARE}


@pytest.fixture
def sound(monkeypatch):
    """Eight GPUs, a large disk, and arms that nothing refuses, whose checkpoints have 2 GiB."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(command, "gpus", lambda: 8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**50))
    monkeypatch.setattr(command, "ask_arms", lambda plan: {arm: Asked(None, 2**31) for arm in plan.arms})


def test_the_recipe_says_within_its_first_lines_what_is_missing(sound, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "gpus", lambda: 4)
    assert command.main(["--model", "qwen3_8b", "--weights", "some/where", "--out", str(tmp_path / "x")]) == 2
    said = capsys.readouterr()
    assert "this node has 4 of 8 GPUs: set GPUS, or HARDWARE=cpu" in said.err
    assert "some/where has no config.json here, and HF_HUB_OFFLINE is set" in said.err
    assert said.err.count("\n") == 2
    assert "train      0 of 8 done" in said.out
    assert not (tmp_path / "x").exists()


def test_a_cluster_that_does_not_answer_is_a_line_before_data_are_prepared(
    sound, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:0")
    words = ["--model", "qwen3_4b", "--weights", "/no/model", "--out", str(tmp_path / "x")]
    assert command.main(words) == 2
    model, cluster = capsys.readouterr().err.splitlines()
    assert model.startswith("reproduce: MODEL=/no/model")
    assert cluster.startswith("reproduce: RAY_ADDRESS=127.0.0.1:0: no Ray cluster answers there")
    assert command.main([*words, "--stages", "compare", "export"]) == 2
    assert "RAY_ADDRESS" not in capsys.readouterr().err  # these stages join no cluster


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_model_and_a_source_that_do_not_exist_are_a_line_each_before_anything_is_written(
    sound, tmp_path, capsys, more
):
    (tmp_path / "empty").mkdir()
    for weights in ("/no/model", str(tmp_path / "empty")):
        words = ["--weights", weights, "--source", "/no/rows.parquet", "--out", str(tmp_path / "x"), *more]
        assert command.main(["--model", "qwen3_4b", *words]) == 2
        model, source = capsys.readouterr().err.splitlines()
        assert model.startswith(
            f"reproduce: MODEL={weights}: {weights} has no config.json here. Name a folder"
        )
        assert source == (
            "reproduce: SOURCE=/no/rows.parquet does not exist: name a file or folder of rows, or a hub id."
        )
        assert not (tmp_path / "x").exists()


def test_a_folder_of_other_settings_is_refused_by_a_dry_run_too(sound, tmp_path, capsys):
    plan = make_plan_in(tmp_path)
    plan.record()
    (tmp_path / "runs").mkdir()
    assert command.main(["--model", "qwen3_4b", "--steps", "5", "--out", str(tmp_path), "--dry-run"]) == 2
    assert "with STEPS=4, not 5" in capsys.readouterr().err


def test_arms_that_would_be_refused_are_named_with_the_reason_before_anything_begins(
    sound, tmp_path, monkeypatch
):
    plan = make_plan_in(tmp_path, arms=("sft", "grpo", "egrsd"))
    answers = {"sft": Asked("no.", 0), "grpo": Asked(None, 0), "egrsd": Asked("no.", 0)}
    monkeypatch.setattr(command, "ask_arms", lambda plan: answers)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert command.missing(plan, ["model", "benchmarks", "data", "train"]) == ["sft egrsd: no."]


def test_the_words_of_a_recipe_are_those_that_it_trains_with(tmp_path, monkeypatch):
    asked = {}

    def answer(words, *, input=None, **more):
        if input is None:
            return run(words, **more)
        asked.update(json.loads(input))
        return SimpleNamespace(returncode=0, stdout=json.dumps({"egrsd": [None, 1.0]}))

    run = subprocess.run
    monkeypatch.setattr(refused.subprocess, "run", answer)
    plan = make_plan_in(tmp_path / "with a blank", arms=("sft", "egrsd"), gpus="4", steps=7)
    assert refused.ask_arms(plan) == {"egrsd": Asked(None, 1.0)}
    assert asked["sft"][:4] == ["verl_egrsd.sft.main", "preset=sft", "base=qwen3_4b", "hardware=gpu4"]
    module, *words = asked["egrsd"]
    assert module == "verl_egrsd.main"
    assert {"preset=egrsd", "model=qwen3_4b", "hardware=gpu4", "trainer.total_training_steps=7"} <= {*words}
    assert f"data.train_files='{tmp_path}/with a blank/data/train.parquet'" in words


@pytest.mark.stack
def test_an_arm_is_asked_as_its_training_asks_itself(monkeypatch):
    words = ("preset=egrsd", "model=qwen3_4b", "hardware=gpu8")
    monkeypatch.setattr(attention, "find_spec", lambda name: name)
    found = refused.ask_arm("verl_egrsd.main", *words)
    assert found.refused is None
    assert found.checkpoint == pytest.approx(1.6e9, rel=0.1)
    sft = refused.ask_arm("verl_egrsd.sft.main", "preset=sft", "base=qwen3_4b")
    assert (sft.refused, sft.checkpoint) == (None, pytest.approx(found.checkpoint))
    steps = refused.ask_arm("verl_egrsd.main", *words, "trainer.total_training_steps=0")
    assert steps.refused.startswith("trainer.total_training_steps=0 is not allowed: it must be")
    monkeypatch.setattr(attention, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert "pip install flash-attn" in refused.ask_arm("verl_egrsd.main", *words).refused
    monkeypatch.setattr("verl_egrsd.doctor.installed.versions", lambda: {"vllm": "missing"})
    assert "vllm is not installed" in refused.ask_arm("verl_egrsd.main", *words).refused


def test_a_gpu_is_counted_unless_the_environment_hides_it(tmp_path, monkeypatch):
    stub = tmp_path / "nvidia-smi"
    stub.write_text('#!/bin/sh\nfor i in 0 1 2 3; do echo "GPU $i: NVIDIA H200"; done\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert command.gpus() == 4
    for visible, found in (("0,1", 2), ("", 0), ("-1", 0), ("2", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert command.gpus() == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--steps", "ten"), "reproduce: STEPS: invalid int value: 'ten'. recipes/reproduce.sh says what"),
        (("--hardware", "gpu2"), "reproduce: HARDWARE: invalid choice: 'gpu2' (choose from "),
        (("--nodes", "two"), "reproduce: NNODES: invalid int value: 'two'."),
        (("--seeds", "a"), "reproduce: SEEDS: invalid int value: 'a'."),
    ],
)
def test_a_value_that_no_variable_takes_is_one_sentence_that_names_the_variable(words, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--model", "qwen3_4b", *words])
    line = capsys.readouterr().err
    assert line.startswith(said)
    assert line.count("\n") == 1


def test_a_wrong_call_is_one_line(tmp_path, capsys):
    for words, said in (
        (["--stages", "trian"], "STAGES: 'trian' is unknown; the stages are model benchmarks data train"),
        (["--arms", "grop"], "ARMS: 'grop' is unknown"),
        (["--hardware", "cpu", "--weights", "x"], "MODEL=x with HARDWARE=cpu"),
        (["--hardware", "cpu", "--source", "x"], "SOURCE=x with HARDWARE=cpu"),
        (["--steps", "0"], "must be at least 1"),
        (["--gpus", "0"], "must be at least 1"),
    ):
        assert command.main(["--model", "qwen3_4b", "--out", str(tmp_path), *words]) == 2
        assert said in capsys.readouterr().err


def test_a_stage_by_itself_names_the_earlier_stage_that_it_needs(tmp_path, capsys):
    words = ["--model", "qwen3_4b", "--hardware", "cpu", "--out", str(tmp_path / "x"), "--stages", "evaluate"]
    assert command.main(words) == 2
    said = capsys.readouterr().err
    assert "the stage evaluate needs the results of train: " in said
    assert "needs the results of data" not in said


def test_a_stage_between_two_chosen_ones_is_needed_too_and_the_page_needs_no_disk(
    sound, tmp_path, monkeypatch
):
    plan = make_plan_in(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    (said, *_) = command.missing(plan, ["model", "evaluate"])
    assert said.startswith("the stage evaluate needs the results of benchmarks: ")
    assert command.missing(plan, ["page"]) == []
    assert any("0 GiB free of 20" in sentence for sentence in command.missing(plan, ["data"]))


def test_the_disk_holds_the_checkpoints_of_all_arms_and_seeds_that_are_not_trained(
    sound, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=30 * 2**30))
    plan = make_plan_in(tmp_path, steps=100, seeds=(0, 1))
    (said,) = [found for found in command.missing(plan, ["train"]) if "GiB" in found]
    assert "30 GiB free of 52, for 16 checkpoints and 20 GiB beside them: choose another OUT" in said
    fewer = replace(plan, seeds=(0,), arms=("egrsd",))
    assert not [found for found in command.missing(fewer, ["train"]) if "GiB" in found]
