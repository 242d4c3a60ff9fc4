"""Ctrl-C in a terminal, and the end of a recipe's time limit."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.recipes import recipe as run_recipe
from tests.support.terminal import Terminal

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = sorted([*REPOSITORY.glob("recipes/*.sh"), *REPOSITORY.glob("tests/*.sh")])
TRAINING = """#!/usr/bin/env python3
import signal, sys, time
if sys.argv[1] == "recipes/environment.py":
    sys.exit()
def stop(*_):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit("stopped")
signal.signal(signal.SIGINT, stop)
print("training", flush=True)
time.sleep(600)
"""
"""It hears the first signal only: `timeout` passes on what the terminal has sent to both."""


@pytest.fixture
def recipe(tmp_path):
    """Start the recipe of supervised training in a terminal, with a training that only sleeps."""
    python = tmp_path / "python"
    python.write_text(TRAINING)
    python.chmod(0o755)
    stock = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}

    def start(**environment):
        variables = stock | {"PYTHON": str(python), "OUTPUT": str(tmp_path / "out")} | environment
        return Terminal(["bash", "recipes/sft_qwen3_4b.sh"], cwd=REPOSITORY, environment=variables)

    return start


@pytest.mark.parametrize("environment", [{}, {"TIME_LIMIT": "600"}], ids=["without a limit", "with a limit"])
def test_ctrl_c_reaches_the_training(recipe, environment):
    with recipe(**environment) as terminal:
        terminal.read_until("training")
        terminal.press_ctrl_c()
        assert terminal.end(30) != 0
        assert "stopped" in terminal.shown


def test_the_end_of_the_time_limit_is_one_sentence_with_the_limit_and_how_to_raise_it(recipe):
    with recipe(TIME_LIMIT="2") as terminal:
        assert terminal.end(30) == 124
        *_, stopped, said = terminal.shown.splitlines()
        assert stopped == "stopped"
        assert (
            said == "The time limit was over after 2 seconds: a higher TIME_LIMIT lets the run go on longer."
        )


@pytest.mark.parametrize("name", ["sft_qwen3_4b", "rehearse_cpu"])
def test_a_time_limit_that_is_not_a_number_of_seconds_is_refused_first(name):
    done = run_recipe(name, TIME_LIMIT="15m", PYTHON="python3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "TIME_LIMIT=15m is not a number of seconds.\n"


@pytest.mark.parametrize(("exit_code", "refused"), [(1, True), (66, False), (127, False)])
def test_only_a_lock_that_another_holds_is_a_folder_in_use(tmp_path, exit_code, refused):
    """`flock` ends with 1 for such a lock, and with another code where it cannot ask."""
    (tmp_path / "flock").write_text(f"#!/bin/sh\nexit {exit_code}\n")
    (tmp_path / "flock").chmod(0o755)
    (tmp_path / ".lock").write_text("process 1")
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run_recipe("egrsd_qwen3_4b", PATH=path, OUTPUT=str(tmp_path), PYTHON="python3", TRAIN_FILE="gone")
    assert ("is in use by process 1" in done.stderr) == refused
    assert ("gone does not exist" in done.stderr) != refused


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_takes_a_command_out_of_reach_of_the_terminal(script):
    code = "\n".join(line for line in script.read_text().splitlines() if not line.lstrip().startswith("#"))
    assert not re.search(r"\btimeout (?!--foreground)|\bsetsid\b|\bnohup\b", code)
