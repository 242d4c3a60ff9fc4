"""docs/data.md says what the code does: flags and defaults, benchmarks, columns, reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

import pyarrow as pa
import pytest

from data_prep.benchmarks import BENCHMARKS
from data_prep.options import Options
from data_prep.rows import ROW_SCHEMA, normalise_problem
from tests.test_docs import ROOT, section, table, value
from verl_egrsd.reward import REASONS

PAGE = ROOT / "docs" / "data.md"


def leaves(kind: pa.Schema | pa.StructType, prefix: str = "") -> Iterator[str]:
    for field in kind:
        # The two lengths and their unit share a row of the table.
        if pa.types.is_struct(field.type) and field.name != "lengths":
            yield from leaves(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def test_every_flag_is_documented_with_its_actual_default():
    documented = {cells[0].strip("`"): cells[1] for cells in table(section(PAGE, "## Choices"))}
    options = [field for field in fields(Options) if field.metadata]
    assert list(documented) == [f"--{option.name.replace('_', '-')}" for option in options]
    for option in options:
        cell = documented[f"--{option.name.replace('_', '-')}"]
        if option.name == "workers":
            assert cell == "all cores"
        elif option.default is None:
            assert cell == "none"
        else:
            default = list(option.default) if isinstance(option.default, tuple) else option.default
            assert value(cell) == default, option.name


def test_every_benchmark_is_documented_with_its_source_and_columns():
    rows = table(section(PAGE, "## Benchmarks"))
    assert [cells[0].strip("`") for cells in rows] == list(BENCHMARKS)
    for (_, title, count, hub, problem, answer), benchmark in zip(rows, BENCHMARKS.values(), strict=True):
        assert (title, count) == (benchmark.title, f"{benchmark.rows:,}")
        named = filter(None, (benchmark.hub_id, benchmark.config))
        assert hub == ", ".join([*(f"`{name}`" for name in named), benchmark.split])
        assert problem == ", ".join(f"`{name}`" for name in benchmark.problem)
        assert all(f"`{name}`" in answer for name in benchmark.answer or benchmark.solution)


def test_every_column_is_documented():
    assert [cells[0].strip("`") for cells in table(section(PAGE, "## The row"))] == list(leaves(ROW_SCHEMA))


def test_every_reason_of_the_verifier_is_documented():
    rows = table(section(PAGE, "## The verifier"))
    assert [cells[0].strip("`") for cells in rows if cells[0].strip("`") in REASONS] == list(REASONS)


@pytest.mark.parametrize(("column", "same"), [(0, True), (1, False)], ids=["the same", "not the same"])
def test_the_examples_of_equal_and_different_problems_are_true(column, same):
    for cells in table(section(PAGE, "## When two problems are the same")):
        for group in cells[column].split("; "):
            problems = [normalise_problem(text) for text in re.findall(r"`([^`]+)`", group)]
            assert len(problems) > 1
            assert len(set(problems)) == (1 if same else len(problems)), group
