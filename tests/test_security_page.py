"""SECURITY.md: every promise names a test that exists, and no set of versions is below a floor."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text()
PROMISES = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
FLOORS = dict(re.findall(r"`([\w-]+) >= ([\d.]+)`", PAGE))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda line: line.strip("| ").partition(" |")[0])
def test_a_promise_names_tests_that_exist(promise):
    files = re.findall(r"`(tests/[\w/]+\.py)`", promise.rsplit("|", 2)[1])
    assert files
    assert all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("package", FLOORS)
@pytest.mark.parametrize("name", ["cpu.lock", "gpu_versions.lock", "gpu.txt"])
def test_no_set_of_versions_is_below_a_floor(package, name):
    pinned = re.findall(
        rf"^{package}(?:\[\w+\])?==([\d.]+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE
    )
    assert all(Version(version) >= Version(FLOORS[package]) for version in pinned)
    assert pinned or name == "gpu.txt"


def test_the_package_asks_for_the_floors():
    setup, project = (ROOT / "setup.cfg").read_text(), (ROOT / "pyproject.toml").read_text()
    ray = Requirement(re.search(r"^\s+(ray\[.*)$", setup, re.MULTILINE)[1])
    tools = Requirement(re.search(r'"(setuptools.*?)"', project)[1])
    assert {part.version for part in ray.specifier} == {FLOORS["ray"]}
    assert {part.version for part in tools.specifier} == {FLOORS["setuptools"]}
