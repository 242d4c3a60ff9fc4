"""docs/inspect.md says what the command does: options, defaults, columns, commands."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd import cli
from verl_egrsd.config import TeacherConfig
from verl_egrsd.microscope.arguments import add_arguments
from verl_egrsd.microscope.colours import labels, quantities
from verl_egrsd.rollouts.dump_format import FIXED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "inspect.md").read_text()


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


def first_cells(heading: str) -> list[list[str]]:
    """Cells of the table rows of a section."""
    text = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_option_is_documented_with_its_default():
    documented = {cells[0].strip("`"): cells[1] for cells in first_cells("Choices")}
    options = [action for action in parser()._actions if action.option_strings and action.dest != "help"]
    actual = {action.option_strings[0]: action.default for action in options}
    assert documented.keys() == actual.keys()
    for name, cell in documented.items():
        if cell.startswith("`"):
            assert yaml.safe_load(cell.strip("`")) == actual[name], name
        else:
            assert not actual[name], name


def test_the_defaults_are_those_of_training():
    shipped = yaml.safe_load((ROOT / "verl_egrsd" / "configs" / "egrsd.yaml").read_text())
    given = parser().parse_args(["model", "--out", "pages"])
    rollout, teacher = shipped["actor_rollout_ref"]["rollout"], shipped["actor_rollout_ref"]["teacher"]
    assert (given.temperature, given.top_p, given.top_k) == tuple(
        rollout[name] for name in ("temperature", "top_p", "top_k")
    )
    assert (given.template, given.header) == (TeacherConfig().template, teacher["header"])
    assert given.teacher_thinks == teacher["enable_thinking"]
    assert given.student_thinks == shipped["data"]["apply_chat_template_kwargs"]["enable_thinking"]
    assert given.max_response_length == shipped["data"]["max_response_length"]
    assert given.estimator == shipped["algorithm"]["adv_estimator"]


def test_every_column_of_a_dump_is_documented():
    cells = [cells[0] for cells in first_cells("The file of a step")]
    names = re.findall(r"`(\w+)`", " ".join(cells))
    run = synthetic_run([words(5)])
    derived, of_other_methods = {"log_ratio"}, {"student_entropy", "divergence", "policy_credit"}
    assert names[: len(FIXED)] == [*FIXED]
    assert {*names[len(FIXED) :]} - of_other_methods == run.arrays - derived


def test_every_quantity_is_documented():
    run = synthetic_run([words(5)])
    page = " ".join(cells[0] for cells in first_cells("A response"))
    assert all(quantity.label in page for quantity in quantities([run]))
    assert {quantity.key for quantity in quantities([run])} <= labels([run]).keys()


@pytest.mark.parametrize("command", re.findall(r"^verl-egrsd (inspect (?:.*\\\n)*.*)", PAGE, re.MULTILINE))
def test_every_command_is_understood(command):
    words = shlex.split(command.replace("\\\n", " "))
    arguments = cli._parser().parse_args(words)
    assert arguments.command == "inspect"


@pytest.mark.parametrize("picture", re.findall(r"!\[.*\]\((.*)\)", PAGE))
def test_every_picture_is_there(picture):
    assert (ROOT / "docs" / picture).is_file()
