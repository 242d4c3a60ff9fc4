"""docs/evaluation.md says what the code does: options with each preset's value, metrics, columns."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

import pytest

from tests.test_docs import ROOT, section, table
from verl_egrsd.evaluation.command import eval_arguments
from verl_egrsd.evaluation.samples import Sample
from verl_egrsd.evaluation.settings import DEFAULT_PRESET, PRESETS, EngineOptions, Settings
from verl_egrsd.evaluation.statistics import bootstrap

from .builders import table_of

PAGE = ROOT / "docs" / "evaluation.md"


def shown(settings: Settings, option: str) -> str:
    if option == "thinking":
        return "on" if settings.thinking else "off"
    if option == "template":
        return settings.template or "-"
    if option == "samples":
        others = [f"{name}={count}" for name, count in settings.samples_of.items()]
        return f"`{' '.join([str(settings.samples), *others])}`"
    return f"`{getattr(settings, option)}`"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_setting_is_documented_with_its_value_in_each_preset(preset):
    rows = table(section(PAGE, "## Protocols"))
    options = [re.sub("-", "_", cells[0].split("`")[1].removeprefix("--")) for cells in rows]
    assert sorted(options) == sorted(
        {field.name for field in fields(Settings)} - {"samples_of", "template_text"}
    )
    column = 1 + list(PRESETS).index(preset)
    assert [cells[column] for cells in rows] == [shown(PRESETS[preset], option) for option in options]
    head = f"| option | `{DEFAULT_PRESET}` (default) | `precise` | `rehearsal` | meaning |"
    assert head in PAGE.read_text()


def test_every_option_of_the_command_is_named():
    parser = argparse.ArgumentParser()
    eval_arguments(parser)
    options = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    text = PAGE.read_text()
    assert {name for name in options - {"--help"} if f"`{name}" not in text} == set()
    assert {f"--{field.name.replace('_', '-')}" for field in fields(EngineOptions)} <= options


def test_every_metric_is_documented_and_every_documented_one_is_measured():
    documented = [name for cells in table(section(PAGE, "## Metrics")) for name in cells[0].split("`")[1::2]]
    found = bootstrap(table_of([[(1, True), (2, False)]]), "sums", replicates=1)
    assert len(documented) == len(set(documented))
    assert set(documented) == {re.sub(r"@\d+", "@k", name) for name in found}


def test_every_column_of_a_sample_is_documented():
    text = section(PAGE, "## The files").partition("A line of `samples.jsonl`:")[2]
    documented = [name for cells in table(text) for name in cells[0].split("`")[1::2]]
    assert sorted(documented) == sorted(field.name for field in fields(Sample))
