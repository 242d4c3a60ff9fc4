"""Ctrl-C in a terminal, SIGTERM, and the end of a recipe's time limit."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.recipes import recipe as run_recipe
from tests.support.terminal import Terminal

REPOSITORY = Path(__file__).parents[2]
RECIPES = sorted(path for path in REPOSITORY.glob("recipes/*.sh") if path.read_text().startswith("#!"))
COMMANDS = [*RECIPES, *sorted(REPOSITORY.glob("tests/*.sh"))]
SLEEPER = """#!/usr/bin/env python3
import os, re, signal, sys, time
def show(line):
    with open("/dev/tty", "w") as terminal:
        terminal.write(line + "\\n")
words = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
show("$ " + words)
if not re.search(os.environ["SLEEPS_AT"], words):
    sys.exit()
def stop(number, _):
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    show("stopped")
    sys.exit(int(os.environ.get("OWN_CODE", 128 + number)))
for each in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(each) != signal.SIG_IGN:
        signal.signal(each, stop)
show("asleep")
while True:
    time.sleep(0.1)  # Python hears a signal that comes before a long sleep only after it
"""
"""It sleeps in one part of a script, and does nothing in all others. It hears the first signal only:
`timeout` passes on what the terminal has sent to both."""
WORK = r"-m (verl_egrsd\.main|verl_egrsd\.sft\.main|recipes\.(miniature|reproduce)\.run|pytest)\b"
SUPERVISED = "recipes/sft_qwen3_4b.sh"
SIGNALS = pytest.mark.parametrize(("way", "exit_code"), [("Ctrl-C", 130), ("SIGTERM", 143)])


@pytest.fixture
def start(tmp_path):
    """Start a script in a terminal, in a checkout where every program that takes long only sleeps."""
    for name in (".ci", "docs", "recipes", "requirements", "tests", "setup.cfg"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    environments = [tmp_path / name / "bin" for name in (".venv", ".venv-gpu-versions")]
    programs = [folder / name for folder in environments for name in ("python", "pip", "ruff", "mypy")]
    for program in (*programs, *(tmp_path / "bin" / name for name in ("python", "pip-audit", "chromium"))):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(SLEEPER)
        program.chmod(0o755)
    (tmp_path / "model").mkdir()
    (tmp_path / "rows.parquet").touch()
    variables = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG")}
    variables |= {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYTHON": f"{tmp_path}/bin/python"}
    variables |= {"MODEL_PATH": "model", "TRAIN_FILE": "rows.parquet", "VAL_FILE": "rows.parquet"}

    def started(script, sleeps_at=WORK, without_pip=False, **environment):
        for folder in environments if without_pip else ():
            (folder / "pip").unlink()
        command = ["bash", str(script.relative_to(REPOSITORY))]
        given = variables | {"SLEEPS_AT": sleeps_at} | environment
        return Terminal(command, cwd=tmp_path, environment=given)

    return started


def interrupted(terminal, way):
    """Interrupt the script when a program sleeps; return its exit code, and the programs that it started."""
    with terminal:
        terminal.read_until("asleep")
        if way == "Ctrl-C":
            terminal.press_ctrl_c()
        else:
            terminal.process.terminate()
        # That is, until nothing that it has started is left in the terminal.
        code = terminal.end(30)
    assert "stopped" in terminal.shown
    return code, re.findall(r"(?m)^\$ (.*)$", terminal.shown)


CASES = {path.name: (path, {}) for path in COMMANDS}
CASES["with a limit"] = (REPOSITORY / SUPERVISED, {"TIME_LIMIT": "600"})
CASES["ci"] = (REPOSITORY / ".ci/run", {"SLEEPS_AT": "pytest -p no:xdist"})


@SIGNALS
@pytest.mark.parametrize(("script", "environment"), CASES.values(), ids=CASES)
def test_ctrl_c_and_sigterm_reach_the_work_of_a_script_which_ends_with_its_code(
    start, script, environment, way, exit_code
):
    assert interrupted(start(script, **environment), way)[0] == exit_code


TRAINING, REPRODUCING = "recipes/egrsd_qwen3_4b.sh", "recipes/reproduce_qwen3_4b.sh"
"""The other recipes of their kind read the same file."""
REHEARSAL, MINIATURE = "recipes/rehearse_cpu.sh", "recipes/mini_frontier.sh"
INSTALLER, GPU_VERSIONS = "requirements/install_cpu.sh", "tests/run_gpu_versions.sh"
INSTALLING = (INSTALLER, REHEARSAL, MINIATURE, REPRODUCING, "tests/run.sh", "tests/run_faults.sh", ".ci/run")
LOCK, OURSELVES = "-m pip .*/cpu.lock", r"-m pip .*-e \."
KINDS = (TRAINING, SUPERVISED, REPRODUCING, REHEARSAL, MINIATURE)
PARTS = [
    *((script, "recipes/environment.py") for script in KINDS),
    *((script, LOCK) for script in INSTALLING),
    *((INSTALLER, part) for part in ("-m pip .*cpu_torch.txt", OURSELVES)),
    *((GPU_VERSIONS, part) for part in ("pip .*torch==", "pip .*versions.lock", OURSELVES)),
    *(("tests/run.sh", part) for part in ("ruff check", "ruff format", "mypy")),
    (REHEARSAL, "-m recipes.rehearsal.build"),
    (TRAINING, "-c .*snapshot_download"),
    (TRAINING, "-m verl_egrsd.cli check"),
    ("requirements/audit.sh", "pip-audit"),
]


@SIGNALS
@pytest.mark.parametrize(("script", "part"), PARTS)
def test_ctrl_c_and_sigterm_reach_every_part_of_a_script_and_no_other_part_begins(
    start, script, part, way, exit_code
):
    environment = {"OWN_CODE": "1"}  # as pip ends Ctrl-C
    if "snapshot_download" in part:
        environment["MODEL_PATH"] = "owner/model"
    if script == REPRODUCING:
        environment["HARDWARE"] = "cpu"
    code, programs = interrupted(start(REPOSITORY / script, part, **environment), way)
    assert code == exit_code
    assert re.search(part, programs[-1])


@SIGNALS
@pytest.mark.parametrize(("script", "folder"), [(INSTALLER, ".venv"), (GPU_VERSIONS, ".venv-gpu-versions")])
def test_an_environment_without_pip_whose_making_was_interrupted_is_made_again(
    start, script, folder, way, exit_code
):
    terminal = start(REPOSITORY / script, "-m venv", without_pip=True)
    assert interrupted(terminal, way) == (exit_code, [f"python -m venv {folder}"])


def test_a_part_reads_what_the_script_reads():
    command = ["bash", "-c", "source recipes/attended.sh; part cat"]
    assert subprocess.check_output(command, cwd=REPOSITORY, input=b"a password", timeout=60) == b"a password"


def test_the_end_of_the_time_limit_is_one_sentence_with_the_limit_and_how_to_raise_it(start):
    with start(REPOSITORY / SUPERVISED, TIME_LIMIT="2") as terminal:
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
