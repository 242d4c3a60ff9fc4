"""The examples for clusters are valid, and name recipes, variables and versions that exist."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from recipes.environment import RECIPES

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "recipes" / "clusters"
SKYPILOT = yaml.safe_load((CLUSTERS / "skypilot.yaml").read_text())
KNOWN = {
    *RECIPES["train_gpu"],
    "RECIPE",
    "WEIGHTS",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_API_SERVER_ADDRESS",
    "PATH",
    "PWD",
}
"""Variables of the recipes, of Ray, and of the examples."""
OF_THE_SCHEDULER = ("SLURM_", "SKYPILOT_", "SBATCH")
SCRIPTS = {
    "slurm": (CLUSTERS / "slurm.sbatch").read_text(),
    "ray": (CLUSTERS / "ray_job.sh").read_text(),
    "skypilot setup": SKYPILOT["setup"],
    "skypilot run": SKYPILOT["run"],
}


@pytest.mark.parametrize("key", ["setup", "run"])
def test_shellcheck_finds_nothing_in_a_script_of_skypilot(key):
    command = ["shellcheck", "--shell=bash", "-"]
    done = subprocess.run(command, input=SKYPILOT[key], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_every_variable_is_known_to_a_recipe_to_ray_or_to_the_scheduler(script):
    code = re.sub(r"(?m)^\s*#.*$", "", script)
    names = set(re.findall(r"\$\{?([A-Z][A-Z_]+)|\b([A-Z][A-Z_]+)=", code))
    names = {used or assigned for used, assigned in names}
    assert {name for name in names if not name.startswith(OF_THE_SCHEDULER)} <= KNOWN
    assert {*SKYPILOT["envs"]} <= KNOWN


def test_the_job_of_ray_hands_on_every_variable_of_the_recipes():
    (names,) = re.findall(r"for name in ([A-Z_ ]+);", SCRIPTS["ray"])
    elsewhere = {"NNODES", "RAY_ADDRESS", "PYTHON", "DRY_RUN", "CHECK"}
    assert set(names.split()) == set(RECIPES["train_gpu"]) - elsewhere


@pytest.mark.parametrize("path", sorted(CLUSTERS.iterdir()), ids=lambda path: path.name)
def test_every_recipe_that_is_named_exists(path):
    named = re.findall(r"recipes/[\w/.]+\b", path.read_text())
    assert named or path.suffix == ".dockerignore"
    assert all((ROOT / name).exists() for name in named)


def test_skypilots_file_has_the_keys_of_a_task():
    allowed = {"name", "workdir", "num_nodes", "resources", "envs", "setup", "run"}
    assert SKYPILOT.keys() == allowed
    assert int(SKYPILOT["resources"]["accelerators"].partition(":")[2]) == SKYPILOT["envs"]["GPUS"]
    assert SKYPILOT["num_nodes"] == SKYPILOT["envs"]["NNODES"]


def test_the_images_are_those_of_the_pinned_versions():
    pinned = re.search(r"^vllm==0\.(\d+)", (ROOT / "requirements" / "gpu.txt").read_text(), re.MULTILINE)
    assert pinned
    docker = (CLUSTERS / "Dockerfile").read_text()
    assert f"ARG BASE=verlai/verl:vllm0{pinned[1]}" in docker
    assert SKYPILOT["resources"]["image_id"].endswith(f"vllm0{pinned[1]}.latest")
    for text in (docker, SKYPILOT["setup"]):
        assert set(re.findall(r"verl==([\d.]+)", text)) == {"0.9.1"}


@pytest.fixture
def slurm(tmp_path):
    """Run Slurm's script on one node, with a stand-in for the recipe; return what the recipe saw."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    recipe = tmp_path / "recipe.sh"
    recipe.write_text('echo "$NNODES $GPUS ${RAY_ADDRESS:-none} $*"\n')

    def run(nodes: int) -> str:
        bin_folder = tmp_path / ".venv" / "bin"
        bin_folder.mkdir(parents=True)
        for name, text in {
            "srun": 'echo "srun $*"',
            # More names than a pipe holds: whoever reads the first alone would break it.
            "scontrol": "echo first; yes second | head -n 100000",
            "sleep": "true",
        }.items():
            (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (bin_folder / name).chmod(0o755)
        given = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_NNODES": str(nodes), "SLURM_JOB_NODELIST": "x"}
        environment = {name: value for name, value in os.environ.items() if name not in RECIPES["train_gpu"]}
        command = ["bash", str(CLUSTERS / "slurm.sbatch"), str(recipe), "trainer.save_freq=5"]
        done = subprocess.run(command, env=environment | given, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_one_node_needs_no_cluster(slurm):
    assert slurm(1) == "1 8 none watchdog.stop=840 trainer.save_freq=5\n"


def test_on_three_nodes_one_is_the_head_and_two_join_it(slurm):
    said = slurm(3)
    assert "3 8 first:6379 watchdog.stop=840" in said
    assert "--nodelist=first ray start --head" in said
    assert "--nodes=2 --ntasks=2 --exclude=first ray start --address=first:6379" in said
