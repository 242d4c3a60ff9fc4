"""The pages: what Chromium shows is what the arrays hold, whatever the texts are, with no network."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd import cli
from verl_egrsd.credit import Regime
from verl_egrsd.microscope.aggregates import aggregate
from verl_egrsd.microscope.colours import labels, quantities
from verl_egrsd.microscope.pages import REGIME_NAMES, write_pages

pytestmark = pytest.mark.stack

PICTURES = Path(__file__).parents[2] / "outputs" / "microscope"
"""Screenshots for people to look at; not under version control."""
HOSTILE = (
    "</script>",
    "<",
    "i>",
    "&amp;",
    "<!--",
    '"',
    "'",
    "{{ 7*7 }}",
    "\u2028",
    "\\",
    "\r\n",
    "é",
    "",
    "\t",
)
WIDE = {"width": 1280, "height": 900}
RUN = synthetic_run([words(90, seed=1), list(HOSTILE), words(400, seed=2)])


@pytest.fixture(scope="module")
def run():
    return RUN


@pytest.fixture(scope="module")
def pages(run, tmp_path_factory):
    """Pages of one run."""
    return write_pages([run], tmp_path_factory.mktemp("single") / "out", limit=8).parent


@pytest.fixture(scope="module")
def beside(run, tmp_path_factory):
    """Pages of two runs side by side."""
    other = synthetic_run([words(70, seed=5), words(9), words(300, seed=6)], name="other", gamma=0.3)
    return write_pages([run, other], tmp_path_factory.mktemp("beside") / "out", limit=8).parent


@pytest.fixture
def opened(browser):
    """Open a page without a network; errors on the page and requests beyond the file fail the test."""
    context = browser.new_context(viewport=WIDE, offline=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if request.url[:5] != "file:" else None)

    def opened(path):
        page.goto(path.as_uri())
        return page

    yield opened
    context.close()
    assert wrong == []


def shown(panel):
    """What the panel says about the token that was pointed at."""
    return {cell.get_attribute("data-key"): cell.text_content() for cell in panel.locator("dd").all()}


def agrees(found, rollout, index):
    """Whether the numbers of the card are those of the arrays."""
    assert found.keys() == labels([RUN]).keys()
    assert found.pop("regime") == REGIME_NAMES[rollout["regime"][index]]
    for name, text in found.items():
        assert float(text) == pytest.approx(rollout[name][index], abs=6e-5), name


def table(scope, name):
    """Numbers of a table by the name in its first column."""
    rows = scope.locator(f"table[data-table={name}] tr").all()[1:]
    cells = [[cell.text_content() for cell in row.locator("td").all()] for row in rows]
    return {row[0]: [float(text) for text in row[1:] if text.strip()] for row in cells}


def test_pointing_at_a_token_shows_all_its_numbers(opened, pages, run):
    page = opened(pages / "rollout-0001.html")
    tokens = page.locator(".text i")
    assert tokens.count() == 90
    for index in (0, 37, 89):
        tokens.nth(index).hover()
        agrees(shown(page), run.rollouts[0], index)
        assert page.locator(".place").text_content() == f"token {index + 1} of 90"
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "rollout.png")


def test_pointing_at_the_curve_shows_the_token_there(opened, pages, run):
    page = opened(pages / "rollout-0003.html")
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    place = page.locator(".place").text_content()
    index = int(re.search(r"token (\d+) of 400", place)[1]) - 1
    assert 190 <= index < 200  # the labels of the axis take some room on the left
    agrees(shown(page), run.rollouts[2], index)


@pytest.mark.parametrize("quantity", quantities([RUN]), ids=lambda quantity: quantity.key)
def test_the_colours_follow_the_chosen_quantity(opened, pages, run, quantity):
    page = opened(pages / "rollout-0001.html")
    page.locator(f"button[data-key={quantity.key}]").click()
    levels = np.array(
        [int(name[1:]) for name in page.eval_on_selector_all(".text i", "l => l.map(i => i.className)")]
    )
    values = run.rollouts[0][quantity.key]
    kinds = page.eval_on_selector_all(".text i", "l => [...new Set(l.map(i => i.className[0]))]")
    assert kinds == [{"rising": "s", "falling": "s", "diverging": "d", "regime": "r"}[quantity.kind]]
    order = np.argsort(values, kind="stable")
    steps = np.diff(levels[order])
    assert (steps <= 0).all() if quantity.kind == "falling" else (steps >= 0).all()
    assert len(set(levels.tolist())) > 1
    if quantity.kind == "diverging":
        assert (levels[values - quantity.centre > 0] >= 4).all()
        assert (levels[values - quantity.centre < 0] <= 4).all()
    if quantity.kind == "regime":
        assert levels.tolist() == values.tolist()
        assert page.locator(".legend span").all_text_contents() == REGIME_NAMES
    pressed = page.locator("button[aria-pressed=true]").all()
    assert [button.get_attribute("data-key") for button in pressed] == [quantity.key]
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"colours_{quantity.key}.png")


def test_whatever_the_tokens_hold_the_page_shows_them_as_text(opened, pages, run):
    page = opened(pages / "rollout-0002.html")
    texts = page.locator(".text i").all_text_contents()
    assert texts == list(HOSTILE)
    page.locator(".text i").first.hover()
    assert page.locator(".token").text_content() == "</script>"
    agrees(shown(page), run.rollouts[1], 0)


def test_blocks_end_with_a_line_and_lose_nothing(opened, tmp_path):
    tokens = ["x"] * 3000
    tokens[100] = tokens[450] = tokens[900] = "\n"
    run = synthetic_run([tokens])
    page = opened(write_pages([run], tmp_path / "out", limit=1).with_name("rollout-0001.html"))
    lengths = page.eval_on_selector_all(".text p", "l => l.map(p => p.children.length)")
    assert lengths == [451, 450, 800, 800, 499]
    assert page.locator(".text").text_content() == "".join(tokens)


def test_the_prompts_are_folded_and_open(opened, pages):
    page = opened(pages / "rollout-0001.html")
    for side in ("student", "teacher"):
        prompt = page.locator(f"pre.{side}")
        assert not prompt.is_visible()
        page.locator("summary", has_text={"student": "student's", "teacher": "privileged"}[side]).click()
        assert prompt.is_visible()
        assert prompt.text_content() == f"{side}'s prompt 0"


def numbers(row):
    """The numbers of a row of a table, in the order of its columns."""
    return [row.tokens, *row.means.values()] if hasattr(row, "means") else list(row[1:])


def test_the_index_shows_the_aggregates(opened, pages, run):
    page, expected = opened(pages / "index.html"), aggregate(run)
    for name in ("weight_mass", "effective_share"):
        text = page.locator(f"[data-number={name}]").text_content()
        assert float(text) == pytest.approx(getattr(expected, name), abs=6e-5)
    for name, value in run.metrics.items():
        text = page.locator(f"[data-number='{name}']").text_content()
        assert float(text) == pytest.approx(value, abs=6e-5)
    for name in ("deciles", "words", "positions", "regimes"):
        found = table(page, name)
        rows = {row.name: numbers(row) for row in getattr(expected, name)}
        assert found.keys() == rows.keys()
        for key, values in found.items():
            assert values == pytest.approx(rows[key], abs=6e-5), (name, key)
    page.screenshot(path=PICTURES / "index.png", full_page=True)


def test_the_index_leads_to_every_page_and_the_colour_goes_along(opened, pages):
    page = opened(pages / "index.html")
    links = page.locator("table[data-table=rollouts] a")
    assert links.all_text_contents() == ["row 0", "row 1", "row 2"]
    links.first.click()
    page.locator("button[data-key=credit]").click()
    page.get_by_text("next").click()
    assert page.url.endswith("rollout-0002.html#credit")
    assert page.locator("button[data-key=credit]").get_attribute("aria-pressed") == "true"
    page.get_by_text("index").click()
    assert page.title() == "Token credit of synthetic"


def test_two_runs_stand_side_by_side(opened, beside, run):
    page = opened(beside / "rollout-0003.html")
    panels = page.locator(".panel").all()
    boxes = [panel.bounding_box() for panel in panels]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    panels[0].locator(".text i").nth(5).hover()
    agrees(shown(panels[0]), run.rollouts[2], 5)
    assert set(shown(panels[1]).values()) == {""}
    page.screenshot(path=PICTURES / "beside.png")
    page = opened(beside / "index.html")
    cards = page.locator("[data-run]").all()
    assert [card.locator("h2").text_content() for card in cards] == ["synthetic", "other"]
    page.screenshot(path=PICTURES / "beside_index.png", full_page=True)


def test_a_page_is_one_file_that_asks_for_nothing(pages, beside):
    for path in (*pages.iterdir(), *beside.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"(?:src|href)=\"(?!index\.html|rollout-\d+\.html)|https?://|@import|url\(", text
        )


def test_only_the_last_rollouts_get_a_page(run, tmp_path):
    folder = write_pages([run], tmp_path / "out", limit=1).parent
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "rollout-0001.html"]
    assert "token" in (folder / "rollout-0001.html").read_text()
    assert "row 2" in (folder / "rollout-0001.html").read_text()


def test_runs_without_a_common_problem_are_refused(run, tmp_path):
    strangers = synthetic_run([words(5)] * 5)
    stranger = type(strangers)("strangers", strangers.method, {}, strangers.rollouts[3:])
    with pytest.raises(ValueError, match="synthetic and strangers share no problem"):
        write_pages([run, stranger], tmp_path / "out", limit=8)
    assert not (tmp_path / "out").exists()


def test_the_colours_of_the_regimes_have_names_in_their_order():
    assert REGIME_NAMES == ["lock", "mid", "pivot", "fork"]
    assert [Regime[name.upper()] for name in REGIME_NAMES] == [0, 1, 2, 3]


def test_the_command_goes_from_a_model_to_pages(opened, model_path, data_path, tmp_path, capsys):
    arguments = ["inspect", str(model_path), "--data", str(data_path), "--out", str(tmp_path / "out")]
    given = ["--rows", "2", "--responses", "extra_info.solution", "--set", "gamma=1.0", "window=2"]
    assert cli.main([*arguments, *given, "--estimator", "cl_egrsd", "--beside", str(model_path)]) == 0
    index = tmp_path / "out" / "index.html"
    assert capsys.readouterr().out == f"{index}\n"
    page = opened(index)
    assert page.locator("table[data-table=rollouts] a").all_text_contents() == [
        "row 0",
        "row 0",
        "row 1",
        "row 1",
    ]
    facts = page.locator("details table").first.text_content()
    assert re.search(r"algorithm\.egrsd\.window\s*2", facts)
    assert cli.main([*arguments, *given]) == 1  # the folder is there already
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"is a model: name the parquet file with its questions \(--data\)"),
        (["--rows", "0"], r"--rows=0 is not allowed: it must be 1 or more"),
        (["--data", "x.parquet", "--temperature", "0"], r"temperature=0.0 is not allowed"),
        (["--data", "x.parquet", "--top-p", "1.5"], r"top_p=1.5 is not allowed"),
        (["--data", "x.parquet", "--top-k", "0"], r"top_k=0 is not allowed"),
        (["--data", "x.parquet", "--set", "gamma"], r"--set gamma is not allowed: write key=value"),
        (["--data", "x.parquet", "--set", "gama=1"], r"unknown key algorithm.egrsd.gama=1"),
        (
            ["--data", "x.parquet", "--estimator", "tip_divergence"],
            r"tip_divergence reads the divergence .* in training only: train with trainer\.rollout_data_dir",
        ),
        (
            ["--data", "x.parquet", "--set", "factors=[ratio,pass_rate]"],
            r"--set factors=.* compares the rollouts of a prompt.*: train with trainer\.rollout_data_dir",
        ),
        (
            ["--data", "x.parquet", "--set", "factors=[ratio,pass_rate]", "pass_rate.source=data"],
            r"--set factors=.* pass_rate\.source=data compares .* or reads the pass rates of the data",
        ),
        (["--data", "x.parquet", "--set", "window=3"], r"window=3 contradicts .*adv_estimator=egrsd"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch, capsys, given, message):
    monkeypatch.chdir(tmp_path)
    Path("x.parquet").touch()
    assert cli.main(["inspect", "model", "--out", str(tmp_path / "out"), *given]) == 1
    assert re.search(message, capsys.readouterr().err)
