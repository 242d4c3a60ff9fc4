"""Problems, answers and names are texts of strangers: every page shows them, and nothing of them runs."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipes.reproduce.page import write_final_page
from recipes.reproduce.plan import BASE
from tests.evaluation.builders import make_sample, small_model, write_evaluation
from tests.recipes.reproduce.builders import make_plan_in, write_results
from tests.support.synthetic_run import synthetic_run
from verl_egrsd import cli
from verl_egrsd.evaluation.problems import read_benchmarks
from verl_egrsd.evaluation.samples import SETTINGS
from verl_egrsd.frontier import frontier
from verl_egrsd.microscope.pages import write_pages
from verl_egrsd.output.pages import embedded
from verl_egrsd.report.ending import ending
from verl_egrsd.report.run import RunReport, describe_run
from verl_egrsd.report.settings import resolve_report

HOSTILE = (
    "</script></title></pre></style></textarea></noscript></svg>--><script>window.ran = 1</script>"
    '"\'><img src=x onerror="window.ran = 1"><svg onload="window.ran = 1">'
    '<a href="javascript:window.ran = 1" onmouseover="window.ran = 1">x</a>'
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>{{ 7 * 7 }}${window.ran = 1}`|\\$\\frac{"
)
UNDRAWABLE = "\U0010fffd"
"""No font has this character, so a picture keeps its texts as text."""
OUR_PICTURES = ("lengths.png", "frontier.png")
EXAMPLE = Path(__file__).parents[1] / "frontier" / "examples" / "base.json"


def without_slashes(text: str) -> str:
    """A text for names of files, and for names of which only the part behind the last slash is shown."""
    return text.replace("/", "")


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """Pages of rollouts in which every text is hostile: of one run, and beside a run with a hostile name."""
    run = synthetic_run([[HOSTILE, " and ", "</script>", "\n"]] * 2, name=HOSTILE)
    texts = ("name", "problem", "student_prompt", "teacher_prompt", "ground_truth", "answer", "verdict")
    rollouts = [replace(rollout, **dict.fromkeys(texts, HOSTILE)) for rollout in run.rollouts]
    run = replace(run, rollouts=rollouts, facts={HOSTILE: HOSTILE})
    folder = tmp_path_factory.mktemp("inspect")
    return [
        write_pages(runs, folder / name, limit=2).parent
        for name, runs in (("rollouts", [run]), ("beside", [run, run]))
    ]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Pages of an evaluation whose problems, solutions and answers are hostile, as are names of files."""
    folder = tmp_path_factory.mktemp("evaluated")
    model, _ = small_model(folder / without_slashes(HOSTILE)[-60:])
    row = {
        "prompt": [{"role": "user", "content": HOSTILE}],
        "reward_model": {"style": "rule", "ground_truth": HOSTILE},
        "extra_info": {"index": 0, "solution": HOSTILE},
        "data_source": HOSTILE,
    }
    data = folder / f"{without_slashes(HOSTILE)[:60]}.parquet"
    pq.write_table(pa.Table.from_pylist([row]), data)
    ((problem,),) = read_benchmarks([data]).values()
    sample = make_sample(problem.id, 0, 3, False, benchmark=data.stem, text=HOSTILE, extracted=HOSTILE)
    run = write_evaluation(folder / "run", [sample], name=HOSTILE)
    facts = json.loads((run / SETTINGS).read_text())
    facts |= {"model": str(model), "files": {data.stem: str(data)}}
    (run / SETTINGS).write_text(json.dumps(facts))
    assert (
        cli.main(["inspect", str(run), "--out", str(folder / "pages"), "--max-response-length", "9999"]) == 0
    )
    return folder / "pages"


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
    """Frontiers of a model and a benchmark with hostile names, the texts of the picture drawn or as text."""
    folders = [tmp_path_factory.mktemp("frontier") for _ in range(2)]
    for folder, title in zip(folders, (HOSTILE, HOSTILE + UNDRAWABLE), strict=True):
        summary = json.loads(EXAMPLE.read_text())
        summary |= {"name": HOSTILE, "benchmarks": {HOSTILE: next(iter(summary["benchmarks"].values()))}}
        (folder / "summary.json").write_text(json.dumps(summary))
        frontier([folder / "summary.json"], folder, benchmark=HOSTILE, title=title)
    return folders


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """The page of a reproduction with a hostile model, source, benchmark and command."""
    plan = make_plan_in(tmp_path_factory.mktemp("reproduced"), weights=HOSTILE, source=HOSTILE)
    write_results(plan, (HOSTILE, "aime24"))
    settings = plan.evaluation(BASE) / SETTINGS
    facts = json.loads(settings.read_text())
    facts["identity"]["settings"]["samples_of"] = facts["identity"]["versions"] = {HOSTILE: HOSTILE}
    settings.write_text(json.dumps(facts))
    events = [{"event": "begin", "at": 0, "gpus": 8}, {"event": "end", "at": 1}]
    lines = [json.dumps({"name": HOSTILE, **event}) + "\n" for event in events]
    (plan.out / "spent.jsonl").write_text("".join(lines))
    write_final_page(plan)
    return plan.out


@pytest.fixture(scope="module")
def scripts(inspected, evaluated, reported, compared, reproduced):
    """Every page that a command writes, with the number of its script elements."""
    rollouts, beside = inspected
    found = {file: 1 for folder in (rollouts, beside, evaluated) for file in folder.glob("index.html")}
    found |= {file: 5 for folder in (rollouts, evaluated) for file in folder.glob("rollout-*.html")}
    found |= {file: 6 for file in beside.glob("rollout-*.html")}
    found |= {folder / "frontier.html": 2 for folder in compared}
    found |= {reported / "report.html": 2, reproduced / "index.html": 0}
    assert len(found) == 12
    return found


@pytest.fixture(scope="module")
def pages(scripts):
    """Every page that a command writes."""
    return sorted(scripts)


class Elements(HTMLParser):
    """What a page holds: its elements and its text; of these what could run: scripts, handlers, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.text, self.suspicious = [], "", []
        self.feed(text)

    @property
    def scripts(self):
        return self.elements.count("script")

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        ours = tag == "img" and dict(attrs)["src"] in OUR_PICTURES
        if tag in ("iframe", "img", "object", "embed", "base", "form") and not ours:
            self.suspicious.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (value or "").lower().lstrip().startswith("javascript:"):
                self.suspicious.append(f"{tag} {name}={value}")


def test_no_page_holds_a_script_a_handler_or_an_address_of_a_text(scripts):
    for page, ours in scripts.items():
        found = Elements(page.read_text(encoding="utf-8"))
        assert found.suspicious == [], page
        assert found.scripts == ours, page


def test_no_picture_runs_a_text_of_a_name(browser, compared):
    context = browser.new_context(offline=True)
    page = context.new_page()
    for folder in compared:
        file = folder / "frontier.svg"
        found = Elements(file.read_text(encoding="utf-8"))
        assert (found.suspicious, found.scripts) == ([], 0), file
        page.goto(file.as_uri())
        assert page.evaluate("[window.ran ?? null, document.documentElement.nodeName]") == [None, "svg"], file
    assert "window.ran" in page.content()  # as text, which a browser draws
    context.close()


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
    for folder in inspected:
        assert sorted(file.name for file in folder.iterdir()) == [
            "index.html",
            "rollout-0001.html",
            "rollout-0002.html",
        ]
