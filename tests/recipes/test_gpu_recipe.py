"""A GPU recipe asks `verl-egrsd check` first, with what it trains with, and names its hardware."""

from __future__ import annotations

import pytest

from tests.support.recipes import recipe

RECIPES = ("egrsd_qwen3_4b", "sft_qwen3_4b")
PYTHON = """#!/bin/sh
[ "$1" = recipes/environment.py ] || echo "$@" >> "$CALLS"
[ "$2" != verl_egrsd.cli ] || exit "$ANSWER"
"""


@pytest.fixture
def calls(tmp_path):
    """Run the recipe with a Python that only notes its arguments; return its exit code and the calls."""
    for name, text in (("python", PYTHON), ("rows.parquet", ""), ("calls", "")):
        (tmp_path / name).write_text(text)
    (tmp_path / "python").chmod(0o755)
    paths = {"PYTHON": "python", "MODEL_PATH": ".", "TRAIN_FILE": "rows.parquet", "VAL_FILE": "rows.parquet"}
    fixed = {name: str(tmp_path / path) for name, path in paths.items()}

    def run(*overrides, name="egrsd_qwen3_4b", check="0", **environment):
        variables = {"CALLS": str(tmp_path / "calls"), "ANSWER": check, "OUTPUT": str(tmp_path / "out")}
        done = recipe(name, *overrides, **fixed | variables | environment)
        return done.returncode, (tmp_path / "calls").read_text().splitlines()

    return run


@pytest.mark.parametrize(
    ("name", "groups", "module"),
    [
        ("egrsd_qwen3_4b", "preset=egrsd model=qwen3_4b hardware=gpu8 ", "verl_egrsd.main"),
        ("sft_qwen3_4b", "preset=sft base=qwen3_4b hardware=gpu8 ", "verl_egrsd.sft.main"),
    ],
)
def test_a_recipe_is_checked_with_the_overrides_that_it_trains_with(calls, name, groups, module):
    exit_code, (check, train) = calls("trainer.save_freq=5", name=name, STEPS="7")
    assert exit_code == 0
    assert check.startswith(f"-m verl_egrsd.cli check {groups}")
    assert train == check.replace("verl_egrsd.cli check", module)
    assert train.endswith(" trainer.total_training_steps=7 trainer.save_freq=5")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_the_check_refuses_does_not_train(calls, tmp_path, name):
    exit_code, made = calls(name=name, check="1")
    assert exit_code == 1
    assert len(made) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("found", ["0", "1"])
def test_check_asks_and_does_not_train(calls, tmp_path, name, found):
    exit_code, (check,) = calls(name=name, check=found, CHECK="1")
    assert exit_code == int(found)
    assert check.startswith("-m verl_egrsd.cli check preset=")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_a_dry_run_asks_for_nothing_that_only_the_machine_which_trains_has(calls, name):
    exit_code, (dry,) = calls(name=name, check="1", DRY_RUN="1")
    assert exit_code == 0
    assert dry.endswith(" dry_run=true")


@pytest.mark.parametrize(
    ("environment", "hardware"),
    [
        ({}, "hardware=gpu8 "),
        ({"GPUS": "1"}, "hardware=gpu1 "),
        ({"GPUS": "4"}, "hardware=gpu4 "),
        ({"GPUS": "2"}, "hardware=gpu8 "),
        ({"HARDWARE": "gpu8_40g"}, "hardware=gpu8_40g "),
        ({"NNODES": "2", "GPUS": "4"}, "hardware=multinode "),
    ],
)
def test_the_hardware_follows_from_the_number_of_gpus_and_nodes_unless_it_is_named(
    calls, environment, hardware
):
    _, (check, _) = calls(**environment)
    assert hardware in check
    given = environment.get("GPUS")
    assert ("trainer.n_gpus_per_node" in check) == (given is not None)
    assert given is None or f"trainer.n_gpus_per_node={given} " in check
