"""A page of a method says what the code says: parts in one order, keys with their defaults, metrics."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from verl_egrsd.methods import Factor, Method, factors, methods, resolve
from verl_egrsd.methods.table import TABLE
from verl_egrsd.trainer.divergence_step import POLICY_LOSS, REPORTED

from .test_panels import columns

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "methods"
PARTS = ["What it says", "Equations", "What the teacher reads", "Our choices", "Preset", "Evidence"]
OF_THE_PAPER = {"egrsd", "cl_egrsd", "rlsd", "direction"}
"""Methods whose page is docs/method.md."""
PAGES = [row.name for row in TABLE if row.name not in OF_THE_PAPER]
SUPERVISED = ["sft", "ssd"]
"""What `verl-egrsd sft` trains: pages of the same parts, and presets of its own."""
FACTORS = [factor for row in TABLE for factor in row.all_factors if factor.section]


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text()


def keys(text: str) -> dict[str, Any]:
    """Keys and defaults of the tables of a page."""
    rows = re.findall(r"^\| `(?:algorithm\.egrsd\.)?([\w.]+)` \| ([^|]+) \|", text, flags=re.MULTILINE)
    return {key.rpartition(".")[2]: yaml.safe_load(value.strip(" `")) for key, value in rows}


def pages_of(factor: Any) -> list[str]:
    """Pages of the methods that have the factor."""
    return [page(row.name) for row in TABLE if factor.name in {each.name for each in row.all_factors}]


def test_every_method_has_a_page_and_every_page_a_method():
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} == {*PAGES, *SUPERVISED}


@pytest.mark.parametrize("name", [*PAGES, *SUPERVISED])
def test_every_page_has_its_parts_in_one_order_and_names_its_preset(name):
    assert re.findall(r"^## (.+)$", page(name), flags=re.MULTILINE) == PARTS
    assert f"preset={name}" in page(name)


@pytest.mark.parametrize("factor", FACTORS, ids=lambda factor: factor.name)
def test_every_key_of_a_factor_stands_on_a_page_with_its_default(factor):
    defaults = asdict(factors()[factor.name])
    assert any(defaults.items() <= keys(text).items() for text in pages_of(factor)), defaults


@pytest.mark.parametrize("factor", FACTORS, ids=lambda factor: factor.name)
def test_every_metric_of_a_factor_stands_on_a_page(factor):
    batch = columns()
    weights = factor.weights(batch, torch.ones(2, 1)).expand(2, 6) * batch.response_mask
    for name in factor.metrics(batch, weights):
        assert any(f"`egrsd/{factor.name}/{name}`" in text for text in pages_of(factor)), name


DISTILLING = [row for row in TABLE if row.divergence]


def test_every_key_of_a_divergence_stands_on_opsds_page_with_its_default():
    assert methods()["opsd"].divergence.keys().items() <= keys(page("opsd")).items()


@pytest.mark.parametrize("row", DISTILLING, ids=lambda row: row.name)
def test_a_page_says_the_settings_of_its_divergence_or_those_of_opsd(row):
    opsd = keys(page("opsd"))
    for key, value in row.divergence.keys().items():
        assert keys(page(row.name)).get(key, opsd[key]) == value, key


def test_every_metric_of_a_divergence_stands_on_opsds_page():
    for name in (*REPORTED, POLICY_LOSS, "hidden_bytes"):
        assert f"`egrsd/divergence/{name}`" in page("opsd"), name


PRESENT = {"egrsd", "cl_egrsd", "rlsd", "direction", "tip", "rlsd_published", "sdar", "dash"}
"""Methods that the overview must not lose."""


def names(some: tuple[Factor, ...]) -> str:
    return ", ".join(factor.name for factor in some if not factor.off) or "none"


def overview(row: Method) -> str:
    """The line of a method in docs/methods/README.md."""
    link = f"{row.name}.md" if row.name in PAGES else "../method.md"
    teacher = ", ".join(f"`{key}={value}`" for key, value in row.teacher.items()) or "as set"
    terms = [row.factors] if row.policy_factors is None else [row.factors, row.policy_factors]
    cells = (
        f"[`{row.name}`]({link})",
        row.advantage.name,
        "; policy: ".join(map(names, terms)),
        f"{row.divergence.kind} divergence" if row.divergence else row.loss,
        teacher if row.uses_teacher else "none",
        "several" if row.needs_group else "one",
    )
    return f"| {' | '.join(cells)} |"


def test_every_line_of_the_overview_says_what_its_method_does():
    """A new method may wait for its line: `verl-egrsd methods` and its own page show it at once."""
    lines = [line for line in page("README").splitlines() if line.startswith("| [")]
    actual = [overview(row) for row in TABLE]
    assert len(lines) >= len(PRESENT)
    assert lines == [line for line in actual if line in lines]
    assert {line.split("`")[1] for line in lines} >= PRESENT


def test_every_method_with_other_factors_that_a_page_shows_is_allowed():
    texts = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    command = r"preset=(\w+)[^`]*?algorithm\.egrsd\.factors=\[([\w,]+)\]"
    shown = {match for text in texts for match in re.findall(command, text)}
    assert ("cl_egrsd", "ratio,entropy_gate,tip") in shown
    for name, chosen in shown:
        resolve(name, {"factors": chosen.split(",")}, max_response_length=64)
