"""The recipes as a user runs them."""

import json
import re
import subprocess
import uuid
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from tests.support.recipes import REPOSITORY, Rehearsal, gpu_recipe, recipe, rehearse

pytestmark = pytest.mark.stack

PRESETS = {
    "egrsd_qwen3_4b": ("Qwen/Qwen3-4B", "egrsd", 0.3, 0),
    "cl_egrsd_qwen3_4b": ("Qwen/Qwen3-4B", "cl_egrsd", 0.3, 3),
    "egrsd_qwen3_8b": ("Qwen/Qwen3-8B", "egrsd", 0.3, 0),
    "cl_egrsd_qwen3_8b": ("Qwen/Qwen3-8B", "cl_egrsd", 1.0, 5),
}


@pytest.fixture(scope="module")
def rehearsal() -> Rehearsal:
    """The main job, exactly as the README starts it."""
    return rehearse()


@pytest.mark.ray
@pytest.mark.timeout(1300)
def test_the_rehearsal_trains_twelve_steps_validates_before_and_after_and_leaves_a_report(rehearsal):
    assert sorted(rehearsal.steps) == list(range(1, 13))
    validations = [
        entry["step"] for entry in rehearsal.entries if any(k.startswith("val-core") for k in entry["data"])
    ]
    assert validations == [0, 12]
    for step in rehearsal.steps.values():
        assert step["actor/grad_norm"] > 0
        assert 0.1 <= step["egrsd/entropy_gate/min"] <= step["egrsd/entropy_gate/mean"] < 1
        assert 0.8 <= step["egrsd/ratio/mean"] <= 1.2
        regimes = [step[f"egrsd/regime/{name}"] for name in ("lock", "mid", "pivot", "fork")]
        assert sum(regimes) == pytest.approx(1)
    report = json.loads((rehearsal.folder / "report.json").read_text())
    assert [step for step, _ in report["curves"]["val-core/rehearsal/sums/acc/mean@1"]] == [0, 12]
    assert not report["not_measured"]
    assert (rehearsal.folder / "report.html").exists()
    assert (rehearsal.folder / "curves.png").stat().st_size > 10_000
    assert "validation rehearsal/sums" in rehearsal.summary
    shown = re.findall(r"step +(\d+) of 12: ", rehearsal.shown)
    assert [int(step) for step in shown] == list(range(1, 13))
    assert "verl-egrsd inspect outputs/" in rehearsal.summary.splitlines()[-1]
    assert len(list((rehearsal.folder / "rollouts").glob("*.parquet"))) == 12
    assert not list((rehearsal.folder / "checkpoints").glob("**/*.safetensors"))


@pytest.mark.ray
@pytest.mark.timeout(1300)
def test_the_small_model_leaves_room_to_learn_and_knows_how_to_use_a_reference(rehearsal):
    facts = json.loads((REPOSITORY / ".cache/rehearsal/small/rehearsal.json").read_text())
    before = facts["before_training"]
    assert facts["parameters"] < 3_000_000
    assert 0.2 <= before["student"]["accuracy"] <= 0.8
    assert before["teacher"]["accuracy"] > before["student"]["accuracy"]
    assert before["teacher"]["length"] < before["student"]["length"]


@pytest.mark.ray
@pytest.mark.timeout(1300)
def test_an_exported_rehearsal_is_the_trained_model_and_not_the_base(rehearsal, tmp_path):
    checkpoint = rehearsal.folder / "checkpoints/global_step_12"
    for form in ("merged", "adapter"):
        command = [
            "verl-egrsd",
            "export",
            checkpoint,
            "--out",
            tmp_path / form,
            "--form",
            form,
            "--dtype",
            "float32",
        ]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    base = AutoModelForCausalLM.from_pretrained(REPOSITORY / ".cache/rehearsal/small/model")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.arange(20, 60).unsqueeze(0)
    with torch.no_grad():
        base_logits, logits = base(ids).logits, merged(ids).logits
        base.load_adapter(str(tmp_path / "adapter"))
        adapted = base(ids).logits
    assert (logits - base_logits).abs().max() > 1e-2
    torch.testing.assert_close(logits, adapted, rtol=1e-4, atol=1e-4)


def test_a_run_name_that_exists_is_refused():
    taken = REPOSITORY / "outputs" / f"test-{uuid.uuid4().hex[:8]}"
    taken.mkdir(parents=True)
    done = recipe("rehearse_cpu", RUN_NAME=taken.name)
    taken.rmdir()
    assert done.returncode == 2
    assert "choose another RUN_NAME" in done.stderr


@pytest.fixture
def rows(tmp_path) -> Path:
    """An empty file where data is expected, in a folder whose name has all that Hydra reads as its own."""
    folder = tmp_path / "a=b, c {d} 'e'"
    folder.mkdir()
    (folder / "rows.parquet").touch()
    return folder / "rows.parquet"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", PRESETS)
def test_a_dry_run_prints_the_resolved_configuration_of_the_paper_and_nothing_else(name, rows):
    files = {"TRAIN_FILE": str(rows), "VAL_FILE": str(rows), "OUTPUT": str(rows.parent)}
    done = gpu_recipe(name, DRY_RUN="true", THINKING="1", LR="1e-6", STEPS="7", **files)
    assert done.returncode == 0, done.stderr[-3000:]
    config = yaml.safe_load(done.stdout)
    model, estimator, gamma, window = PRESETS[name]
    assert config["actor_rollout_ref"]["model"]["path"] == model
    assert config["algorithm"]["adv_estimator"] == estimator
    assert config["algorithm"]["egrsd"]["gamma"] == gamma
    assert config["algorithm"]["egrsd"]["window"] == window
    assert None not in config["algorithm"]["egrsd"].values()
    assert config["data"]["apply_chat_template_kwargs"]["enable_thinking"] is True
    assert config["actor_rollout_ref"]["actor"]["optim"]["lr"] == pytest.approx(1e-6)
    assert config["trainer"]["total_training_steps"] == 7
    # A thinking answer has room, and what depends on it follows.
    assert config["data"]["max_response_length"] == 16_384
    assert config["algorithm"]["egrsd"]["max_response_length"] == 16_384
    assert config["actor_rollout_ref"]["rollout"]["max_model_len"] == 2_048 + 16_384
    # The path arrives as it is.
    assert config["data"]["train_files"] == str(rows)
    assert config["trainer"]["default_local_dir"] == f"{rows.parent}/checkpoints"
    assert config["report"]["folder"] == str(rows.parent)


DISTILLING = {
    "opsd_qwen3_8b": {"kind": "forward", "clip": 0.06, "temperature": 1.1},
    "crisp_qwen3_4b": {"kind": "reverse", "clip": "none", "temperature": 1.0},
    "grpo_qwen3_4b": {},
}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", DISTILLING)
def test_a_dry_run_of_the_other_methods_prints_the_settings_of_their_sources(name, rows):
    files = {"TRAIN_FILE": str(rows), "VAL_FILE": str(rows), "OUTPUT": str(rows.parent)}
    done = gpu_recipe(name, DRY_RUN="1", SEED="3", **files)
    assert done.returncode == 0, done.stderr[-3000:]
    config = yaml.safe_load(done.stdout)
    method = name.partition("_")[0]
    assert config["algorithm"]["adv_estimator"] == method
    assert DISTILLING[name].items() <= config["algorithm"]["egrsd"].get("divergence", {}).items()
    assert config["data"]["seed"] == config["actor_rollout_ref"]["rollout"]["seed"] == 3
    rollouts = config["data"]["train_batch_size"] * config["actor_rollout_ref"]["rollout"]["n"]
    assert rollouts == 32
    if method == "crisp":
        teacher = config["actor_rollout_ref"]["teacher"]
        assert (teacher["template"], teacher["refresh"], teacher["every"]) == ("concise", "copy", 50)


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for path in (REPOSITORY / "recipes").glob("*_qwen3_*.sh")
        if not path.stem.startswith(("sft_", "reproduce_"))
    ),
    ids=lambda p: p.stem,
)
def test_a_gpu_recipe_is_named_after_its_preset_and_model(path):
    values = dict(re.findall(r"^(preset|model|default_model)=(.+)$", path.read_text(), flags=re.MULTILINE))
    assert path.stem == f"{values['preset']}_{values['model']}"
    assert values["default_model"].replace("Qwen/Qwen3-", "qwen3_").lower() == values["model"]


@pytest.mark.timeout(200)
def test_a_recipe_and_the_command_name_a_run_and_its_folder_alike(rows):
    done = gpu_recipe(
        "cl_egrsd_qwen3_8b",
        "data.seed=0",
        DRY_RUN="1",
        TRAIN_FILE=str(rows),
        VAL_FILE=str(rows),
    )
    trainer = yaml.safe_load(done.stdout)["trainer"]
    assert trainer["experiment_name"] == "cl_egrsd_Qwen3-8B_nonthinking_seed0"
    assert (
        trainer["default_local_dir"]
        == f"{REPOSITORY}/outputs/cl_egrsd_Qwen3-8B_nonthinking_seed0/checkpoints"
    )


@pytest.mark.timeout(200)
def test_a_dry_run_prints_the_configuration_and_fails_with_all_that_is_missing(tmp_path):
    missing = {"TRAIN_FILE": "gone.parquet", "VAL_FILE": "away.parquet", "MODEL_PATH": str(tmp_path / "no")}
    done = gpu_recipe("egrsd_qwen3_4b", DRY_RUN="1", **missing)
    assert done.returncode == 1
    assert yaml.safe_load(done.stdout)["data"]["train_files"] == "gone.parquet"
    lines = done.stderr.splitlines()[-3:]
    assert lines[0].startswith("verl_egrsd: data.train_files=gone.parquet does not exist")
    assert lines[1].startswith("data.val_files=away.parquet does not exist")
    assert lines[2].startswith(f"actor_rollout_ref.model.path={tmp_path / 'no'} does not exist")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("model", ["4b", "8b"])
def test_a_dry_run_of_supervised_training_prints_the_resolved_configuration_and_nothing_else(model, rows):
    files = {"TRAIN_FILE": str(rows), "VAL_FILE": str(rows), "OUTPUT": str(rows.parent)}
    done = gpu_recipe(f"sft_qwen3_{model}", DRY_RUN="1", LR="1e-6", STEPS="7", SEED="3", **files)
    assert done.returncode == 0, done.stderr[-3000:]
    config = yaml.safe_load(done.stdout)
    assert config["model"]["path"] == f"Qwen/Qwen3-{model.upper()}"
    assert config["optim"]["lr"] == pytest.approx(1e-6)
    assert (config["trainer"]["total_training_steps"], config["trainer"]["seed"]) == (7, 3)
    assert config["trainer"]["n_gpus_per_node"] == 8
    assert config["data"]["apply_chat_template_kwargs"]["enable_thinking"] is False
    assert config["data"]["train_files"] == str(rows)
    assert config["trainer"]["default_local_dir"] == f"{rows.parent}/checkpoints"


def test_a_supervised_recipe_stops_at_an_unknown_preset_and_at_missing_data():
    done = gpu_recipe("sft_qwen3_4b", SFT_PRESET="opsd")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "SFT_PRESET=opsd is unknown: sft, sft_opsd or ssd."
    done = gpu_recipe("sft_qwen3_4b", TRAIN_FILE="gone.parquet")
    assert done.returncode == 1
    assert "data.train_files=gone.parquet does not exist: make it (python -m data_prep" in done.stderr


WRONG = {
    "DRY_RUN": ("yes", "DRY_RUN=yes is not allowed: it must be 0, 1, false or true"),
    "THINKING": ("2", "THINKING=2 is not allowed: it must be 0, 1, false or true"),
    "NNODES": ("two", "NNODES=two is not a number of nodes"),
    "GPU": ("4", "GPU is not read by any recipe: did you mean GPUS?"),
    "STEP": ("10", "STEP is not read by any recipe: did you mean STEPS?"),
    "PRESET": ("rlsd", "PRESET is read by recipes/rehearse_cpu.sh, not by this recipe"),
    "OUTPUT": ("back\\slash", "holds a backslash"),
    "TRAIN_FILE": ("${HOME}/rows.parquet", "which Hydra reads in its own way"),
}


@pytest.mark.parametrize("variable", WRONG)
def test_a_variable_that_a_recipe_cannot_read_stops_it_in_one_line(variable):
    value, message = WRONG[variable]
    done = gpu_recipe("egrsd_qwen3_4b", **{variable: value})
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_number_of_steps_that_is_a_word_is_refused_by_its_key():
    done = gpu_recipe("egrsd_qwen3_4b", STEPS="ten", DRY_RUN="1")
    assert done.returncode == 1
    assert "verl_egrsd: trainer.total_training_steps=ten is not allowed: it must be" in done.stderr


def test_a_gpu_recipe_without_its_data_stops_with_the_command_that_makes_it(tmp_path):
    done = gpu_recipe("egrsd_qwen3_4b", TRAIN_FILE=str(tmp_path / "train.parquet"))
    assert done.returncode == 2
    assert "python -m data_prep.openthoughts --source siyanzhao/Openthoughts_math_30k_opsd" in done.stderr
    assert "--benchmarks data/benchmarks --tokenizer Qwen/Qwen3-4B" in done.stderr
    data = tmp_path / "train.parquet"
    data.touch()
    done = gpu_recipe("egrsd_qwen3_4b", TRAIN_FILE=str(data), VAL_FILE=str(data), HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "hf download Qwen/Qwen3-4B" in done.stderr


def test_a_bad_setting_ends_with_one_plain_line_and_exit_code_1():
    done = gpu_recipe("egrsd_qwen3_4b", "algorithm.egrsd.gamma=1.5", DRY_RUN="1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().endswith(
        "verl_egrsd: algorithm.egrsd.gamma=1.5 is not allowed: it must be in [0, 1]; 0 switches the gate off."
    )
    assert "Traceback" not in done.stderr
