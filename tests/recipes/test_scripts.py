"""Every shell script of the repository: ShellCheck finds nothing, and signals reach what a script starts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path
    for pattern in ("recipes/**/*.sh", "recipes/**/*.sbatch", "requirements/*.sh", "tests/**/*.sh", ".ci/run")
    for path in ROOT.glob(pattern)
)
LONG = r"(?:bash|mypy|ruff|pip-audit|apt-get|timeout|ray|[^\s=]*python[^\s=]*)"
"""Programs that may take longer than a second."""


def code(script: Path) -> str:
    """The commands of a script, one a line, without comments."""
    joined = script.read_text().replace("\\\n", "")
    return "\n".join(line for line in joined.splitlines() if not line.lstrip().startswith("#"))


def test_shellcheck_finds_nothing():
    done = subprocess.run(["shellcheck", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_file_of_the_repository_that_is_a_shell_script_is_checked():
    folders = [path for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()]
    folders += [ROOT / name for name in (".ci", ".github", "docs", "requirements")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    of_shell = [file for file in files if file.suffix in (".sh", ".sbatch") or _is_of_a_shell(file)]
    assert sorted(of_shell) == SCRIPTS


def _is_of_a_shell(file: Path) -> bool:
    with file.open("rb") as stream:
        return bool(re.match(rb"#!.*\b(ba)?sh\b", stream.readline(80)))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_takes_a_command_out_of_reach_of_the_terminal(script):
    assert not re.search(r"\btimeout (?!--foreground)|\bsetsid\b|\bnohup\b", code(script))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_waits_for_nothing_that_sigterm_would_not_reach(script):
    """What takes long is `part`, `attended`, in the background, or takes the script's place."""
    begins = rf"(?m)(?:^ *|\( *|[;&|{{!] +|\b(?:then|do) +)(?:\w+=\S+ )*{LONG}(?: .*|$)"
    waits = [found[0] for found in re.finditer(begins, code(script)) if not found[0].endswith("&")]
    # A line of Python that imports nothing heavy.
    assert [line for line in waits if not re.search(r"-c 'import (sys|secrets);", line)] == []
