"""Leaves out the faults that take over a minute, unless `-m` names them; times what it tries, for a table."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from recipes.rehearsal.build import BuildSettings, build
from tests.faults.run import REPOSITORY, started
from tests.faults.table import Fault, add
from tests.faults.training import RAY, Training, command, environment

TABLE = "FAULTS_TABLE"
"""Environment variable: file of the table that the measured faults are written to."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests marked `faults`; addopts could not, since another `-m` would replace it."""
    if "faults" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("faults")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def measured(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[str, str], AbstractContextManager[None]]]:
    """Time a block: `with measured("disk full", "no space left for FILE"): ...` is one row of the table.

    The rows are written when the whole test has passed, and only if FAULTS_TABLE names a file.
    """
    rows, failed = [], request.session.testsfailed

    @contextmanager
    def timed(fault: str, ends: str):
        began = time.monotonic()
        yield
        rows.append(Fault(fault, ends, time.monotonic() - began))

    yield timed
    if TABLE in os.environ and request.session.testsfailed == failed:
        for row in rows:
            add(Path(os.environ[TABLE]), row)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system in memory with these options, which only root can; unmounted at the end."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this user cannot mount a file system")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def small():
    """The model of the rehearsal; Ray's folder goes with the last test."""
    build(REPOSITORY / ".cache/rehearsal/small", BuildSettings())
    yield
    shutil.rmtree(RAY, ignore_errors=True)


@pytest.fixture
def training(small, tmp_path):
    """Start a run whose files are in `folder`; whatever it started has ended after the test."""
    runs = []

    def start(*overrides, folder=tmp_path):
        driver = started(command(folder, *overrides), tmp_path / "log.txt", environment(folder, *overrides))
        runs.append(Training(driver, folder, tmp_path / "log.txt"))
        return runs[-1]

    yield start
    for run in runs:
        run.close()
