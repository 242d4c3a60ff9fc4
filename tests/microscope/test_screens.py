"""The pages fit narrow and wide windows, light and dark; the keyboard works; rows are sorted and filtered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.browser import windows
from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd.microscope.pages import write_pages

SCREENS = Path(__file__).parents[2] / "outputs" / "microscope"
"""Pictures for people to look at; not under version control."""
ARABIC = "كم عدد الأعداد الأولية بين 10 و 50؟"
LONG = "/a/very/long/path/" + "without_a_blank" * 8
CLASSES = [f"{letter}{level}" for letter in "sd" for level in range(9)] + [f"r{i}" for i in range(4)]
CONTRAST = """classes => classes.map(name => {
  const token = document.querySelector(".text i");
  token.className = name;
  const style = getComputedStyle(token);
  const light = text => {
    const [r, g, b, a] = text.match(/[\\d.]+/g).map(Number);
    if (a === 0) return null;
    const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const paper = light(getComputedStyle(document.querySelector(".card")).backgroundColor);
  const pair = [light(style.color), light(style.backgroundColor) ?? paper].sort((a, b) => b - a);
  return [name, (pair[0] + 0.05) / (pair[1] + 0.05)];
})"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Two runs side by side and one alone; texts in two directions, and names without a blank."""
    run = synthetic_run([words(90), words(40, seed=2), ["مرحبا", " ", "12", "\n", "ok", " then"]], name=LONG)
    problems = ("Add 2+2.", "Prove it.", ARABIC)
    rollouts = [
        replace(rollout, problem=problem, answer=answer)
        for rollout, problem, answer in zip(run.rollouts, problems, ("9", "10", "<b>٣</b>"), strict=True)
    ]
    run = replace(run, rollouts=rollouts)
    folder = tmp_path_factory.mktemp("screens")
    write_pages([run], folder / "one", limit=8)
    write_pages([run, replace(run, name="other")], folder / "two", limit=8)
    return folder


@pytest.fixture
def screen(browser, pages):
    """Open a page in a window; errors on the page fail the test."""
    opened, wrong = [], []

    def screen(path, scheme="light"):
        window = {"width": 1280, "height": 900}
        context = browser.new_context(viewport=window, color_scheme=scheme, offline=True)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        name, _, colours = path.partition("#")
        page.goto(f"{(pages / name).as_uri()}#{colours}")
        return page

    yield screen
    for context in opened:
        context.close()
    assert wrong == []


@pytest.mark.parametrize(
    "path", ["one/index.html", "one/rollout-0003.html", "two/index.html", "two/rollout-0001.html"]
)
def test_a_page_fits_its_window_and_takes_the_colours_of_the_system(screen, path):
    page = screen(path)
    for width, scheme in windows(page):
        SCREENS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENS / f"{path.replace('/', '_')}_{width}_{scheme}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_a_token_leaves_its_text_readable(screen, scheme):
    page = screen("one/rollout-0001.html", scheme=scheme)
    poor = {name: ratio for name, ratio in page.evaluate(CONTRAST, CLASSES) if ratio < 4.5}
    assert poor == {}


def test_the_arrow_keys_go_from_token_to_token_and_letters_from_page_to_page(screen):
    page = screen("one/rollout-0001.html")
    place = page.locator(".place")
    for key, expected in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2)):
        page.keyboard.press(key)
        assert place.text_content() == f"token {expected} of 90"
    page.keyboard.press("2")
    pressed = page.locator("button[aria-pressed=true]")
    assert pressed.text_content() == page.locator(".toolbar button").nth(1).text_content()
    page.keyboard.press("n")
    page.wait_for_url("**/rollout-0002.html#*")
    page.keyboard.press("p")
    page.wait_for_url("**/rollout-0001.html#*")


def test_the_arrow_keys_stay_on_the_side_that_was_pointed_at(screen):
    page = screen("two/rollout-0001.html")
    page.locator(".panel").nth(1).locator(".text i").nth(4).hover()
    page.keyboard.press("ArrowRight")
    assert page.locator(".place").all_text_contents() == ["point at a token", "token 6 of 90"]


def test_the_legend_says_in_words_what_the_colours_mean(screen):
    page = screen("one/rollout-0001.html#weight")
    assert (
        page.locator(".words")
        .text_content()
        .startswith("Orange: the token counts less than the advantage alone.")
    )
    page.locator("button[data-key=regime]").click()
    assert "Pivot (underlined): it is unsure now" in page.locator(".words").text_content()


def test_at_least_half_of_the_tokens_have_no_colour_and_the_strongest_is_used(screen):
    page = screen("one/rollout-0001.html#teacher_entropy")
    names = page.eval_on_selector_all(".text i", "l => l.map(i => i.className)")
    assert names.count("s0") >= 30
    levels = "l => l.map(i => i.className)"
    paths = [f"one/rollout-000{i}.html#teacher_entropy" for i in (1, 2, 3)]
    every = {name for path in paths for name in screen(path).eval_on_selector_all(".text i", levels)}
    assert {"s0", "s1", "s8"} <= every


def test_right_to_left_text_runs_from_the_right(screen):
    page = screen("one/rollout-0003.html")
    assert page.locator("h1").text_content() == ARABIC
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).direction") == "rtl"
    boxes = [page.locator(".text i").nth(i).bounding_box() for i in (0, 2, 4, 5)]
    assert boxes[0]["x"] > boxes[1]["x"]  # the Arabic line
    assert boxes[2]["x"] < boxes[3]["x"]  # the English one below it


def test_the_answer_stands_beside_the_verdict_as_text(screen):
    page = screen("one/rollout-0003.html")
    assert page.locator(".answer").text_content() == "<b>٣</b>"


def rows(page):
    return page.locator("[data-table=rollouts] tbody tr:visible td:first-child").all_text_contents()


def test_rows_are_sorted_by_number_and_by_text_and_back(screen):
    page = screen("one/index.html")
    for title, expected in (
        ("tokens", [2, 1, 0]),
        ("tokens", [0, 1, 2]),
        ("answer", [2, 0, 1]),
        ("reward", [1, 2, 0]),
    ):
        page.locator("th button", has_text=title).last.click()
        assert rows(page) == [f"row {i}" for i in expected], title
    assert page.locator("th[aria-sort=ascending]").text_content() == "reward"


def test_rows_are_filtered_by_text_and_verdict(screen):
    page = screen("one/index.html")
    page.locator(".filters input").fill("PROVE")
    assert rows(page) == ["row 1"]
    assert page.locator(".filters .shown").text_content() == "1 of 3 are shown."
    page.locator(".filters input").fill("")
    page.locator(".filters select").select_option("correct")
    assert rows(page) == ["row 0", "row 2"]
