"""SECURITY.md: every promise names a test that exists, and no set of versions is below a floor."""

import ast
import json
import re
import runpy
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
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", promise.rsplit("|", 2)[1])
    assert named
    for file, test in named:
        nodes = ast.parse((ROOT / file).read_text()).body
        tests = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        assert not test or test in tests, f"{file} has no {test}"


@pytest.mark.parametrize(
    ("name", "package"),
    [(name, package) for name in ("cpu.lock", "gpu_versions.lock") for package in FLOORS]
    + [("gpu.txt", "ray")],
)
def test_no_set_of_versions_is_below_a_floor(name, package):
    text = (ROOT / "requirements" / name).read_text()
    (pinned,) = re.findall(rf"^{package}(?:\[\w+\])?==([\d.]+)", text, re.MULTILINE)
    assert Version(pinned) >= Version(FLOORS[package])


def test_the_package_asks_for_the_floors():
    setup, project = (ROOT / "setup.cfg").read_text(), (ROOT / "pyproject.toml").read_text()
    ray = Requirement(re.search(r"^\s+(ray\[.*)$", setup, re.MULTILINE)[1])
    tools = Requirement(re.search(r'"(setuptools.*?)"', project)[1])
    assert {part.version for part in ray.specifier} == {FLOORS["ray"]}
    assert {part.version for part in tools.specifier} == {FLOORS["setuptools"]}


@pytest.mark.parametrize("name", ["cpu.lock", "cpu_torch.txt"])
def test_every_line_of_the_cpu_set_has_a_hash_that_the_installer_asks_for(name):
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    assert [line for line in lines if not re.search(r"^#|==\S+( --hash=sha256:[0-9a-f]{64})+$", line)] == []
    assert (
        f"--require-hashes -r requirements/{name}" in (ROOT / "requirements" / "install_cpu.sh").read_text()
    )


def report(folder, name, *hashes):
    """A report of pip about one package, once for each hash."""
    item = {"metadata": {"name": name, "version": "1.0"}}
    items = [item | {"download_info": {"archive_info": {"hashes": {"sha256": value}}}} for value in hashes]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"install": items}))
    return path


def test_the_hashes_of_reports_are_written_beside_those_that_are_there(tmp_path):
    script = runpy.run_path(str(ROOT / "requirements" / "lock_hashes.py"))
    found = script["read_hashes"]([report(tmp_path, "Some_Package", "b", "a")])
    assert script["with_hashes"]("some-package==1.0 --hash=sha256:c", found) == (
        "some-package==1.0 --hash=sha256:a --hash=sha256:b --hash=sha256:c"
    )
    assert script["with_hashes"]("# a comment", found) == "# a comment"
    with pytest.raises(ValueError, match=r"no report names other==1\.0"):
        script["with_hashes"]("other==1.0", found)
