"""Every shell script of the repository: signals reach what it starts."""

from __future__ import annotations

import re
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
