"""What a reproduction may be asked for, and what one folder may hold."""

from dataclasses import replace

import pytest

from recipes.environment import RECIPES
from recipes.reproduce import run as command
from recipes.reproduce.plan import ARMS, GPU, HARDWARE, SFT, read_plan
from recipes.reproduce.trainings import training
from tests.support.recipes import REPOSITORY
from verl_egrsd.evaluation.published import published_results

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
    replace(plan, arms=("sft",), seeds=(1,), gpus="4").record()
    found = read_plan(tmp_path)
    assert (found.arms, found.seeds, found.gpus) == (("sft", "grpo", "egrsd"), (0, 1), "4")
    with pytest.raises(ValueError, match=r"holds a reproduction with steps=4, not 5: .* \(OUT\)"):
        replace(plan, steps=5).record()
    assert read_plan(tmp_path) == found


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
    assert environment.keys() <= {*RECIPES["sft_gpu" if arm == SFT else "train_gpu"]}
    (run,) = make_plan_in(tmp_path, arms=(arm,), hardware="gpu4", nodes=2).runs
    more = dict(training(run)[1].items() - environment.items())
    assert {"HARDWARE", "NNODES"} & more.keys() == (set() if arm == SFT else {"HARDWARE", "NNODES"})


def test_the_hardware_is_that_of_the_presets():
    presets = {path.stem for path in (REPOSITORY / "verl_egrsd/configs/hardware").glob("*.yaml")}
    assert {GPU, *presets} == {*HARDWARE}


def test_the_recipe_says_within_its_first_lines_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "gpus", lambda: 4)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert command.main(["--model", "qwen3_8b", "--weights", "some/where", "--out", str(tmp_path / "x")]) == 2
    said = capsys.readouterr()
    assert "this node has 4 of 8 GPUs: set GPUS, or HARDWARE=cpu" in said.err
    assert "some/where has no config.json here, and HF_HUB_OFFLINE is set" in said.err
    assert "train      0 of 8 done" in said.out
    assert not (tmp_path / "x").exists()


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


def test_a_stage_between_two_chosen_ones_is_needed_too_and_the_page_needs_no_disk(tmp_path, monkeypatch):
    plan = make_plan_in(tmp_path)
    monkeypatch.setattr(command, "NEEDED", 2**80)
    monkeypatch.setattr(command, "gpus", lambda: 0)
    (said, *_) = command.missing(plan, ["model", "evaluate"])
    assert said.startswith("the stage evaluate needs the results of benchmarks: ")
    assert command.missing(plan, ["page"]) == []
    assert any("GiB free of" in sentence for sentence in command.missing(plan, ["data"]))
