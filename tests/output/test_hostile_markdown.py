"""Markdown files are shown as HTML by most viewers: texts of strangers stay texts, and tables stay whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from markdown_it import MarkdownIt

from data_prep.card import Card, stage_table, write_card
from data_prep.options import Options
from data_prep.similarity import Match
from data_prep.stages import Stage
from recipes.miniature import record
from recipes.miniature.arms import ARMS, Run
from recipes.miniature.kept import keep_run
from recipes.miniature.measurement import Plan
from recipes.miniature.results import measure
from tests.checkpoints.test_card import INTERVAL, LENGTH
from tests.evaluation.builders import make_samples, write_evaluation
from tests.output.test_hostile_text import HOSTILE, Elements, without_slashes
from verl_egrsd.checkpoints.card import model_card
from verl_egrsd.evaluation.compare import compare, comparison_markdown
from verl_egrsd.evaluation.published import beside_markdown, beside_published
from verl_egrsd.evaluation.samples import SETTINGS
from verl_egrsd.evaluation.summary import MARKDOWN_SUMMARY, write_summary
from verl_egrsd.output.tables import verbatim_markdown

LINES = f"{HOSTILE}\n| x |\n\n    {HOSTILE}\r<b>\x0b<i>\u2028<u>\n```\n{HOSTILE}\n~~~\n# {HOSTILE}"
"""A hostile text of several lines, which Markdown would read as blocks."""
VIEWER = MarkdownIt("commonmark", {"html": True}).enable("table")
"""A viewer that lets HTML through, as the specification of Markdown says."""
WEIGHTS = Path(__file__).parents[2] / "recipes" / "rehearsal" / "weights" / "miniature"


def evaluation(folder, name, right):
    """A finished evaluation whose names and versions are hostile; of two problems so many are right."""
    samples = [
        sample
        for benchmark, problems in ((LINES, 2), ("aime24", 30))
        for sample in make_samples([[(100, i % 2 < right)] for i in range(problems)], benchmark)
    ]
    write_evaluation(folder, samples, name=name, samples=1)
    facts = json.loads((folder / SETTINGS).read_text())
    facts |= {"model": LINES, "date": LINES}
    facts["identity"] |= {"versions": {LINES: LINES}}
    facts["identity"]["settings"] |= {"samples_of": {LINES: LINES}, "temperature": name}
    (folder / SETTINGS).write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    return [evaluation(folder / "a", f"a {LINES}", 2), evaluation(folder / "b", f"b {LINES}", 1)]


def data_card(folder):
    """The card of a data set from a hostile source, whose rows are hostile."""
    match = Match("exact", 1, LINES, LINES, LINES, LINES, LINES, 0.9)
    stage = Stage("select", LINES, 2, 1)
    stage.dropped[LINES] = stage.noted[LINES] = 1
    names = [LINES, LINES]
    reading = {"files": names, "configuration": LINES, "split": LINES, "left_out": names}
    card = Card(
        schema="paper",
        reading=reading | {"columns": names, "columns_left_out": names},
        stages=[stage],
        notes=[LINES],
        control_tokens={},
        duplicates=[match],
        contaminated=[match],
        benchmarks={LINES: 1},
        lengths=[{"student": 1, "teacher": 2, "unit": "tokens"}],
        limits={"student": 3, "teacher": 4, "unit": "tokens"},
    )
    write_card(card, Options(source=LINES, out=folder), [])
    return (folder / "data_card.md").read_text()


def exported_card(folder):
    """The model card of a checkpoint whose records, data and evaluation are hostile."""
    hostile = without_slashes(LINES)
    step = folder / "global_step_1"
    step.mkdir()
    fingerprint = {"algorithm.adv_estimator": hostile, "actor_rollout_ref.teacher.template": hostile}
    (step / "egrsd.json").write_text(json.dumps({"fingerprint": fingerprint}))
    file = {"file": str(folder / hostile[:60]), "sha256": hostile}
    report = {"versions": {hostile: hostile}, "data": {"training": [file]}}
    (folder / "report.json").write_text(json.dumps(report))
    card = {
        "options": {"source": hostile},
        "benchmarks": {hostile: 1},
        "stages": [{"stage": hostile, "in": 1, "out": 1}],
        "files": {hostile[:60]: {"sha256": hostile}},
    }
    (folder / "data_card.json").write_text(json.dumps(card))
    row = {"avg": INTERVAL, "length": LENGTH}
    summary = {"schema": "verl_egrsd.summary/1", "settings": {hostile: hostile}, "average": row}
    summary |= {"name": f"# {hostile}", "date": hostile, "benchmarks": {hostile: row}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return model_card(step, base=hostile, form="merged", evaluations=[folder]).split("---\n", 2)[2]


def miniature_page(folder):
    """The page of a measurement that was made on a machine with a hostile name."""
    samples = make_samples([[(100, i % 2 == 0)] for i in range(4)])
    made = dict.fromkeys(("date", "machine", "commit"), LINES) | {"versions": {LINES: LINES}}
    kept = keep_run(write_evaluation(folder / "run", samples, samples=1), None, made=made, plan={})
    runs = [Run(ARMS["egrsd"], seed) for seed in (0, 1)]
    other = replace(kept, made=made | {"commit": "another"})
    measurement = SimpleNamespace(
        out=folder,
        plan=Plan(seeds=(0, 1)),
        runs=runs,
        measured=lambda: {"egrsd": measure(ARMS["egrsd"], [kept, other])},
        kept=lambda: dict(zip((run.name for run in runs), (kept, other), strict=True)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "MODEL", WEIGHTS)
        record.write_page(measurement)
    return (folder / "index.md").read_text()


@pytest.fixture(scope="module")
def documents(tmp_path_factory, evaluations):
    """Every Markdown text that a command writes, with the number of its tables."""
    made = tmp_path_factory.mktemp
    summaries = [write_summary(folder, replicates=50) for folder in evaluations]
    return {
        "summary": ((evaluations[0] / MARKDOWN_SUMMARY).read_text(), 2),
        "comparison": (comparison_markdown(compare(*evaluations, replicates=50)), 1),
        "published": (beside_markdown(beside_published(summaries, "qwen3_4b")), 1),
        "data card": (data_card(made("data")), 3),
        "model card": (exported_card(made("model")), 4),
        "miniature": (miniature_page(made("miniature")), 1),
    }


DOCUMENTS = ("summary", "comparison", "published", "data card", "model card", "miniature")


def shown(text: str) -> str:
    """A text without what kinds of blanks it holds."""
    return "".join(text.split())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_viewer_that_lets_html_through_shows_every_text_and_nothing_else(documents, name):
    text, tables = documents[name]
    html = VIEWER.render(text)
    found = Elements(html)
    assert (found.suspicious, found.scripts) == ([], 0)
    assert {"a", "b", "i", "u", "svg"} & {*found.elements} == set()
    assert found.elements.count("table") == tables
    expected = without_slashes(LINES) if name == "model card" else LINES
    assert shown(expected) in shown(found.text)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_name_ends_its_row_or_its_cell(documents, name):
    text, tables = documents[name]
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("| ")]
    rules = [row.count("|") for row in rows if not row.strip("|:- ")]
    assert len(rules) == tables
    assert {row.count("|") for row in rows} == {*rules}


def test_nothing_of_a_text_runs_in_a_viewer(browser, documents, tmp_path):
    context = browser.new_context(offline=True)
    page = context.new_page()
    for name, (text, _) in documents.items():
        file = tmp_path / f"{name}.html"
        file.write_text(f'<!doctype html><meta charset="utf-8">{VIEWER.render(text)}')
        page.goto(file.as_uri())
        assert page.evaluate("window.ran") is None, name
        assert "window.ran" in page.inner_text("body"), name
    context.close()


@pytest.mark.parametrize(
    "name", ["# x", "> x", "- x", "+ x", "* x", "~~~", "```", "*x*", "<b>", "[a](b)", "a&lt;"]
)
def test_a_name_at_the_begin_of_a_line_opens_no_block(name):
    html = VIEWER.render(f"before\n\n{verbatim_markdown(name)} is a name\n\nafter\n")
    found = Elements(html)
    assert found.elements == ["p", "p", "p"]
    assert f"{name} is a name" in found.text


def test_plain_names_stay_as_they_are():
    for name in ("Qwen/Qwen3-4B", "cl_egrsd", "global_step_100", "5e-06", "-1.5", "0.9.1", "math-500 (a, b)"):
        assert verbatim_markdown(name) == name
    assert verbatim_markdown("a|b\n<i>[c](d)`") == "a\\|b &lt;i>\\[c\\](d)\\`"


def test_a_table_of_stages_keeps_its_rows():
    stage = Stage("select", "domain math", 2, 1)
    stage.dropped[f"domain {LINES}"] = 1
    assert len(stage_table([stage]).splitlines()) == 3
