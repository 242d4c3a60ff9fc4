"""docs/data.md says what `verl-egrsd sample` does: options with each preset's value, columns."""

import argparse
from dataclasses import fields
from typing import Any

import pytest

from tests.evaluation.builders import make_sample
from tests.test_docs import ROOT, section, table
from verl_egrsd.evaluation.settings import Settings
from verl_egrsd.sampling.command import sample_arguments
from verl_egrsd.sampling.rows import problem_row, sample_row
from verl_egrsd.sampling.settings import PROTOCOLS, Filters

TEXT = section(ROOT / "docs" / "data.md", "## Samples of a model")


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


@pytest.mark.parametrize("preset", PROTOCOLS)
def test_every_setting_and_filter_is_documented_with_its_value_in_each_preset(preset):
    rows = [cells for cells in table(TEXT) if cells[0].startswith("`--")]
    options = [cells[0].split("`")[1].removeprefix("--").replace("-", "_") for cells in rows]
    of_eval = {"samples_of", "template", "template_text"}
    names = [field.name for cls in (Settings, Filters) for field in fields(cls) if field.name not in of_eval]
    assert sorted(options) == sorted(names)
    values = {**vars(PROTOCOLS[preset].settings), **vars(PROTOCOLS[preset].filters)}
    column = 1 + list(PROTOCOLS).index(preset)
    assert [cells[column] for cells in rows] == [shown(values[option]) for option in options]


def test_every_option_of_its_own_is_named():
    parser = argparse.ArgumentParser()
    sample_arguments(parser)
    evaluation = (ROOT / "docs" / "evaluation.md").read_text()
    for action in parser._actions:
        for option in action.option_strings:
            if option.startswith("--") and not option.startswith("--no-") and option != "--help":
                assert f"`{option}" in TEXT + evaluation, option


def test_every_field_that_a_row_gets_is_documented():
    sample = make_sample("p", 0, 3, True)
    row: dict[str, Any] = {"extra_info": {}}
    added = {*sample_row(row, sample, 1.0, True)["extra_info"], *problem_row(row, [sample])["extra_info"]}
    assert {name for name in added if f"`{name}`" not in TEXT and f"extra_info.{name}`" not in TEXT} == set()
