"""Which environment variables a recipe takes for a slip of the pen."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.support.recipes import recipe

recipes = runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "environment.py"))
complaints, one_edit, RECIPES = (recipes[name] for name in ("complaints", "one_edit", "RECIPES"))

FOREIGN = (
    *("HOME", "PATH", "PWD", "OLDPWD", "SHELL", "SHLVL", "TERM", "LANG", "LC_ALL", "USER", "LOGNAME", "MAIL"),
    *("DATE", "EDITOR", "PAGER", "DISPLAY", "TMPDIR", "TZ", "HOSTNAME", "CPUS", "CUDA_VISIBLE_DEVICES", "_"),
    *("PYTHONPATH", "PYTHON_VERSION", "PYTHONUNBUFFERED", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH"),
    *(
        "WORLD_SIZE",
        "RANK",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "NCCL_DEBUG",
        "NVIDIA_VISIBLE_DEVICES",
    ),
    *(
        "SLURM_JOB_ID",
        "SLURM_NNODES",
        "SLURM_GPUS",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "WANDB_API_KEY",
        "VLLM_USE_V1",
    ),
    *("GITHUB_OUTPUT", "CI", "DATA", "OUT", "RAY_ADDRESS", "OMP_NUM_THREADS", "PIP_EXTRA_INDEX_URL"),
)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_variables_of_other_programs_are_left_alone(recipe):
    assert complaints(recipe, [*FOREIGN, *RECIPES[recipe]]) == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        *(("GPU", "GPUS"), ("STEP", "STEPS"), ("steps", "STEPS"), ("lr", "LR"), ("BATHC", "BATCH")),
        *(
            ("TRAIN_FILES", "TRAIN_FILE"),
            ("MODELPATH", "MODEL_PATH"),
            ("MODEL_NAME", "MODEL_PATH"),
        ),
        *(("BATCH_SIZE", "BATCH"), ("LEARNING_RATE", "LR"), ("NUM_GPUS", "GPUS"), ("OUTPUTS", "OUTPUT")),
        *(("DRYRUN", "DRY_RUN"), ("NODES", "NNODES"), ("THINKNG", "THINKING"), ("Output_Dir", "OUTPUT")),
    ],
)
def test_a_slip_is_answered_with_the_nearest_name(name, nearest):
    (sentence,) = complaints("train_gpu", [name])
    assert sentence == f"{name} is not read by any recipe: did you mean {nearest}? Otherwise unset {name}."


@pytest.mark.parametrize(
    ("recipe", "name", "reader", "nearest"),
    [
        *(("train_gpu", "MODEL", "reproduce", "MODEL_PATH"), ("train_gpu", "SEEDS", "reproduce", "SEED")),
        *(("reproduce", "MODEL_PATH", "train_gpu", "MODEL"), ("reproduce", "OUTPUT", "train_gpu", "OUT")),
        *(("reproduce", "SEED", "train_gpu", "SEEDS"), ("mini_frontier", "OUTPUT", "train_gpu", "OUT")),
    ],
)
def test_a_variable_of_another_recipe_is_answered_with_that_recipe_and_the_name_here(
    recipe, name, reader, nearest
):
    (sentence,) = complaints(recipe, [name])
    read = f"{name} is read by recipes/{reader}.sh, not by this recipe"
    assert sentence == f"{read}: did you mean {nearest}? Otherwise unset {name}."


@pytest.mark.parametrize(
    ("recipe", "name", "remedy"),
    [
        ("rehearse_cpu", "STEPS", "unset it. Any setting can be a trailing key=value."),
        ("reproduce", "BATCH", "unset it."),
    ],
)
def test_trailing_settings_are_named_where_a_recipe_takes_them(recipe, name, remedy):
    (sentence,) = complaints(recipe, [name])
    assert sentence == f"{name} is read by recipes/train_gpu.sh, not by this recipe: {remedy}"


def test_an_interpreter_without_verl_is_named_where_the_recipe_makes_no_environment(monkeypatch):
    uninstalled = recipes["uninstalled"]
    monkeypatch.delenv("HARDWARE", raising=False)
    assert uninstalled("reproduce") is None
    monkeypatch.setitem(uninstalled.__globals__, "find_spec", lambda name: None)
    for needs in ("train_gpu", "sft_gpu", "reproduce"):
        assert uninstalled(needs).startswith(f"{sys.executable} has no verl: name the interpreter of the env")
    assert uninstalled("rehearse_cpu") is None
    monkeypatch.setenv("HARDWARE", "cpu")
    assert uninstalled("reproduce") is None


@pytest.mark.parametrize("name", ["reproduce_qwen3_4b", "reproduce_qwen3_8b", "mini_frontier"])
def test_a_recipe_that_takes_no_arguments_refuses_one_before_anything_is_installed(name):
    done = recipe(name, "--dry-run", PYTHON="python3", OUT="/dev/null/out")  # where nothing can be written
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--dry-run: this recipe takes variables, such as ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("first", "second"), [("GPU", "GPUS"), ("STPES", "STEPS"), ("BATCHS", "BATCH")])
def test_one_edit_is_one_letter_more_less_other_or_swapped(first, second):
    assert one_edit(first, second)
    assert one_edit(second, first)


@pytest.mark.parametrize(("first", "second"), [("STEPS", "STEPS"), ("PATH", "DATA"), ("OUT", "OUTPUT")])
def test_equal_names_and_two_edits_are_not_one(first, second):
    assert not one_edit(first, second)
