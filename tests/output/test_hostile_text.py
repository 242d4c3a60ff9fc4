"""Problems, answers and names are texts of strangers: every page shows them, and nothing of them runs."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.synthetic_run import synthetic_run
from verl_egrsd.evaluation.summary import markdown
from verl_egrsd.frontier import frontier
from verl_egrsd.microscope.pages import write_pages
from verl_egrsd.output.pages import embedded
from verl_egrsd.output.tables import verbatim_markdown
from verl_egrsd.report.ending import ending
from verl_egrsd.report.run import RunReport, describe_run
from verl_egrsd.report.settings import resolve_report

HOSTILE = (
    "</script></title></pre></style></textarea></noscript></svg>--><script>window.ran = 1</script>"
    '"\'><img src=x onerror="window.ran = 1"><svg onload="window.ran = 1">'
    '<a href="javascript:window.ran = 1" onmouseover="window.ran = 1">x</a>'
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>{{ 7 * 7 }}${window.ran = 1}`|\\$\\frac{"
)
EXAMPLE = Path(__file__).parents[1] / "frontier" / "examples" / "base.json"


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """Pages of rollouts in which every text is hostile, beside a run with a hostile name."""
    run = synthetic_run([[HOSTILE, " and ", "</script>", "\n"]] * 2, name=HOSTILE)
    texts = ("name", "problem", "student_prompt", "teacher_prompt", "ground_truth", "answer", "verdict")
    rollouts = [replace(rollout, **dict.fromkeys(texts, HOSTILE)) for rollout in run.rollouts]
    run = replace(run, rollouts=rollouts, facts={HOSTILE: HOSTILE})
    return write_pages([run, run], tmp_path_factory.mktemp("inspect") / "out", limit=2).parent


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A report whose names, settings, metrics and ending are hostile."""
    folder = tmp_path_factory.mktemp("report")
    settings = {
        "trainer": {"experiment_name": HOSTILE},
        "actor_rollout_ref": {"model": {"path": HOSTILE}},
        HOSTILE: HOSTILE,
    }
    breaks = [{"step": 1, "changed": {HOSTILE: [HOSTILE, HOSTILE]}}]
    report = RunReport(
        resolve_report({}, folder=str(folder)), describe_run(settings, 2, {}), 0, breaks=breaks
    )
    report.record(1, {"egrsd/correct": 0.5, f"val-core/{HOSTILE}/acc/mean@1": 0.5})
    report.end(ending("failed", HOSTILE))
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The frontier of a model and a benchmark with hostile names."""
    folder = tmp_path_factory.mktemp("frontier")
    summary = json.loads(EXAMPLE.read_text())
    summary |= {"name": HOSTILE, "benchmarks": {HOSTILE: next(iter(summary["benchmarks"].values()))}}
    (folder / "summary.json").write_text(json.dumps(summary))
    frontier([folder / "summary.json"], folder, benchmark=HOSTILE, title=HOSTILE)
    return folder


@pytest.fixture(scope="module")
def pages(inspected, reported, compared):
    """Every page that a command writes."""
    found = sorted(file for folder in (inspected, reported, compared) for file in folder.glob("*.html"))
    assert len(found) == 5
    return found


class Elements(HTMLParser):
    """What of a page could run: scripts, handlers, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts, self.suspicious = 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        if tag in ("iframe", "img", "object", "embed", "base", "form"):
            self.suspicious.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (value or "").lower().lstrip().startswith("javascript:"):
                self.suspicious.append(f"{tag} {name}={value}")


def test_no_page_holds_a_script_a_handler_or_an_address_of_a_text(pages):
    ours = {"rollout": 6, "index": 1, "report": 2, "frontier": 2}
    for page in pages:
        found = Elements(page.read_text(encoding="utf-8"))
        assert found.suspicious == [], page
        assert found.scripts == ours[page.stem.partition("-")[0]], page


def test_a_script_element_cannot_be_ended_by_its_numbers():
    assert "<" not in embedded({HOSTILE: HOSTILE})
    assert json.loads(embedded({HOSTILE: HOSTILE})) == {HOSTILE: HOSTILE}


def test_nothing_of_a_text_runs_in_a_browser(browser, pages):
    context = browser.new_context(offline=True)
    page = context.new_page()
    for file in pages:
        page.goto(file.as_uri())
        for element in page.locator("details, tr, .text i, [id^=point-], .grid *").all()[:20]:
            element.dispatch_event("mouseover")
            element.dispatch_event("click")
        assert page.evaluate("window.ran") is None, file
        assert "window.ran = 1" in page.content()
        assert "49" not in page.title()
    context.close()


def test_a_page_runs_its_own_script_and_no_other_even_if_a_text_became_markup(browser, pages):
    context = browser.new_context(offline=True)
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    for file in pages:
        text = file.read_text(encoding="utf-8")
        broken = file.with_name(f"broken_{file.name}")
        broken.write_text(text.replace("</h1>", f"</h1>{HOSTILE}").replace("<table", f"{HOSTILE}<table"))
        refused.clear()
        page.goto(broken.as_uri())
        page.evaluate("document.body.setAttribute('onclick', 'window.ran = 1')")
        page.locator("body").dispatch_event("click")
        assert page.evaluate("window.ran") is None, file
        assert sum("Content Security Policy" in line for line in refused) >= 3, file
        broken.unlink()
    context.close()


def test_names_of_rollouts_and_runs_do_not_become_paths(inspected):
    assert sorted(file.name for file in inspected.iterdir()) == [
        "index.html",
        "rollout-0001.html",
        "rollout-0002.html",
    ]


def test_names_stay_in_their_cell_of_a_markdown_page():
    summary = json.loads(EXAMPLE.read_text())
    benchmarks = {f"{HOSTILE}\n| x |": next(iter(summary["benchmarks"].values()))}
    page = markdown(summary | {"name": HOSTILE, "model": HOSTILE, "benchmarks": benchmarks})
    assert "<" not in page
    rows = [line for line in page.splitlines() if line.startswith("|") and "window" in line]
    assert len(rows) == 2
    assert verbatim_markdown("a|b\n<i>[c](d)`") == "a\\|b &lt;i>\\[c\\](d)\\`"
