"""Ctrl-C in a terminal, SIGTERM, and the end of a recipe's time limit."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.recipes import recipe as run_recipe
from tests.support.terminal import Terminal

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = sorted(
    path
    for pattern in ("recipes/**/*.sh", "recipes/**/*.sbatch", "requirements/*.sh", "tests/*.sh", ".ci/run")
    for path in REPOSITORY.glob(pattern)
)
COMMANDS = [
    path for path in SCRIPTS if path.parent.name in ("recipes", "tests") and path.read_text().startswith("#!")
]
"""Those that run on this machine and make something."""
SLEEPING_PYTHON = """#!/usr/bin/env python3
import signal, sys, time
if sys.argv[1:2] != ["-m"] or sys.argv[2] not in (
    "verl_egrsd.main", "verl_egrsd.sft.main", "recipes.miniature.run", "recipes.reproduce.run", "pytest"
):
    sys.exit()
def stop(number, _):
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    print("stopped")
    sys.exit(128 + number)
for each in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(each) != signal.SIG_IGN:
        signal.signal(each, stop)
with open("/dev/tty", "w") as terminal:
    terminal.write("training\\n")
time.sleep(600)
"""
"""It sleeps where it should train or test, and does nothing else. It hears the first signal only: `timeout`
passes on what the terminal has sent to both."""


@pytest.fixture
def start(tmp_path):
    """Start a script in a terminal, in a checkout whose Python only sleeps and whose packages are there."""
    for name in ("recipes", "tests", "setup.cfg"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    folders = [tmp_path / name for name in (".venv/bin", ".venv-gpu-versions/bin", "requirements", "model")]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in folders[:2]:
        for name, program in (("python", SLEEPING_PYTHON), ("ruff", "#!/bin/sh"), ("mypy", "#!/bin/sh")):
            (folder / name).write_text(program)
            (folder / name).chmod(0o755)
    for name, text in (("install_cpu.sh", ""), ("gpu_versions.lock", "torch==2")):
        (tmp_path / "requirements" / name).write_text(text)
    (tmp_path / "rows.parquet").touch()
    variables = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    variables |= {"PYTHON": f"{tmp_path}/.venv/bin/python", "MODEL_PATH": "model"}
    variables |= {"TRAIN_FILE": "rows.parquet", "VAL_FILE": "rows.parquet"}

    def started(script, **environment):
        command = ["bash", str(script.relative_to(REPOSITORY))]
        return Terminal(command, cwd=tmp_path, environment=variables | environment)

    return started


SUPERVISED = REPOSITORY / "recipes/sft_qwen3_4b.sh"
CASES = {path.name: (path, {}) for path in COMMANDS}
CASES["with a limit"] = (SUPERVISED, {"TIME_LIMIT": "600"})


@pytest.mark.parametrize(("way", "exit_code"), [("Ctrl-C", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(("script", "environment"), CASES.values(), ids=CASES)
def test_ctrl_c_and_sigterm_reach_the_work_of_a_script_which_ends_with_its_code(
    start, script, environment, way, exit_code
):
    with start(script, **environment) as terminal:
        terminal.read_until("training")
        if way == "Ctrl-C":
            terminal.press_ctrl_c()
        else:
            terminal.process.terminate()
        # That is, until nothing that it has started is left in the terminal.
        assert terminal.end(30) == exit_code
        assert "stopped" in terminal.shown


def test_the_end_of_the_time_limit_is_one_sentence_with_the_limit_and_how_to_raise_it(start):
    with start(SUPERVISED, TIME_LIMIT="2") as terminal:
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
