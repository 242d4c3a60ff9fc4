"""The page in a browser: it fits its window, shows numbers, zooms, and can be read without its script."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.report.test_health import GOOD
from tests.support.browser import windows
from verl_egrsd.report.chart import FRAME
from verl_egrsd.report.ending import ending
from verl_egrsd.report.page import facts, report_page
from verl_egrsd.report.settings import resolve_report

SCREENS = Path(__file__).parents[2] / "outputs" / "report"
"""Pictures for people to look at; not under version control."""
STEPS = 2000
VALIDATION = "val-core/rehearsal/sums/acc/mean@1"
PATHS = "all => all.map(path => [path.getAttribute('class'), path.getAttribute('d')])"
TEXTS = "all => all.map(text => text.textContent)"


def metrics(step):
    """Metrics of a step: a wave, a spike, and a validation now and then."""
    wave = 0.5 + 0.3 * math.sin(step / 300) + 0.1 * (step % 7 - 3) / 3
    found = {name: value + 0.01 * (step % 5) for name, value in GOOD.items()}
    found |= {"training/global_step": step, "egrsd/correct": wave, "timing_s/gen": 5 if step == 1200 else 0.1}
    if step == STEPS:  # where Python and JavaScript round and write differently by themselves
        found |= {"egrsd/correct": 9 / 32, "actor/lr": 5e-5}
    return found | ({VALIDATION: wave} if step % 100 == 0 else {})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of 2,000 steps; a break after step 1,000."""
    run = {
        "name": "a run",
        "date": "2026-11-21",
        "total_steps": 2 * STEPS,
        "versions": {"verl": "0.9.1"},
        "data": {"training": [{"file": "train.parquet", "bytes": 1, "sha256": "0" * 64}]},
        "settings": {},
        "breaks": [{"step": 1000, "changed": {}}],
    }
    steps = {step: metrics(step) for step in range(1, STEPS + 1)}
    report = facts(run, steps, resolve_report({}, folder="").thresholds) | {"ending": ending("running")}
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page(report))
    return path


@pytest.fixture
def page(browser, written):
    """The page; an error in its script fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(written.as_uri())
    yield page
    context.close()
    assert wrong == []


def shown(page):
    """The range of steps in the fields."""
    return [int(field.input_value()) for field in page.locator(".tools input").all()]


def drag(page, start, end):
    """Drag over the first panel, between shares of its axis."""
    panel = page.locator("svg.panel").first
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    unit = box["width"] / FRAME["width"]
    left = box["x"] + FRAME["left"] * unit
    width = (FRAME["width"] - FRAME["left"] - FRAME["right"]) * unit
    page.mouse.move(left + start * width, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(left + end * width, box["y"] + 60, steps=3)
    page.mouse.up()


def test_the_page_fits_narrow_and_wide_windows_in_light_and_dark(page):
    for width, scheme in windows(page):
        rights = "all => all.map(x => x.getBoundingClientRect().right)"
        boxes = page.locator(".head td, .health td, .panel, .names button").evaluate_all(rights)
        assert max(boxes) <= width
        SCREENS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENS / f"{width}_{scheme}.png", full_page=True)


def test_the_script_draws_what_the_page_shows_without_it(browser, page, written):
    context = browser.new_context(java_script_enabled=False)
    still = context.new_page()
    still.goto(written.as_uri())
    assert not still.locator(".tools").is_visible()
    assert still.locator("svg.panel").first.is_visible()
    for kind in ("line", "dots", "band", "break", "rule"):
        drawn, redrawn = (one.locator(f"svg.panel .{kind}").evaluate_all(PATHS) for one in (still, page))
        assert [look for look, _ in redrawn] == [look for look, _ in drawn]
        for (_, expected), (_, found) in zip(drawn, redrawn, strict=True):
            assert re.sub(r"[-\d.]+", "", found) == re.sub(r"[-\d.]+", "", expected)
            numbers = [[float(x) for x in re.findall(r"[-\d.]+", path)] for path in (found, expected)]
            assert numbers[0] == pytest.approx(numbers[1], abs=0.11)
    for selector in ("svg.panel text", ".names output", ".width"):
        assert page.locator(selector).evaluate_all(TEXTS) == still.locator(selector).evaluate_all(TEXTS)
    context.close()


def test_pointing_at_a_step_shows_its_numbers_in_all_panels(page):
    drag(page, 0.5, 0.5)
    step = int(page.locator(".step").text_content().removeprefix("step ").replace(",", ""))
    assert abs(step - 1000) < 10
    values = dict(
        zip(*(page.locator(f".names {x}").evaluate_all(TEXTS) for x in ("span", "output")), strict=True)
    )
    assert float(values["correct"]) == pytest.approx(metrics(step)["egrsd/correct"], abs=1e-4)
    assert float(values["truncated"]) == pytest.approx(metrics(step)["egrsd/truncated"], abs=1e-4)
    last = step // 100 * 100
    told = values["validation rehearsal/sums/acc/mean@1"].split(" ")
    assert float(told[0]) == pytest.approx(metrics(last)[VALIDATION], abs=1e-4)
    assert told[1:] == ([] if last == step else [f"({last})"])
    assert page.locator(".mark").evaluate_all("all => new Set(all.map(x => x.getAttribute('d'))).size") == 1


def test_a_drag_zooms_all_panels_until_a_double_click_and_outlives_a_reload(page):
    drag(page, 0.25, 0.3)
    first, last = zoomed = shown(page)
    assert (first, last) == (pytest.approx(501, abs=8), pytest.approx(601, abs=8))
    assert not page.locator(".means").is_visible()  # each step has its point
    assert page.locator("svg.panel .break").count() == 0
    page.reload()
    assert shown(page) == zoomed
    page.locator("svg.panel").first.dblclick()
    assert shown(page) == [1, STEPS]
    assert page.locator(".width").text_content() == "17"


def test_the_keys_move_zoom_and_reset(page):
    page.locator(".grid").focus()
    page.keyboard.press("End")
    for key, expected in (("ArrowLeft", "1,999"), ("Shift+ArrowLeft", "1,799"), ("Home", "1")):
        page.keyboard.press(key)
        assert page.locator(".step").text_content() == f"step {expected}"
    page.keyboard.press("+")
    assert shown(page) == [1, 1001]  # half of the steps
    page.keyboard.press("Escape")
    assert shown(page) == [1, STEPS]
    page.locator(".tools input").first.fill("1500")
    page.keyboard.press("Enter")
    assert shown(page) == [1500, STEPS]


def test_a_hidden_curve_leaves_the_axis_to_the_others(page):
    panel = page.locator("figure", has_text="truncated and repeated")
    before = panel.locator("text.y").evaluate_all(TEXTS)
    panel.get_by_role("button", name="repetition/max").click()
    assert panel.locator("[aria-pressed=false]").count() == 1
    assert panel.locator("text.y").evaluate_all(TEXTS) != before


def test_in_print_the_panels_stand_in_two_columns_without_tools(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator(".tools").is_visible()
    tops = page.locator(".grid figure").evaluate_all(
        "all => all.slice(0, 3).map(x => x.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1] < tops[2]


def test_an_address_and_the_fields_name_a_range_in_any_order_and_in_whole_steps(page, written):
    page.goto(f"{written.as_uri()}#steps=900-100")
    assert shown(page) == [100, 900]
    page.evaluate("location.hash = '#steps=200-300'")
    page.wait_for_function("document.querySelector('.tools input').value === '200'")
    last = page.locator(".tools input").nth(1)
    for text, expected in (("", [200, 300]), ("250.4", [200, 250])):
        last.fill(text)
        last.press("Enter")
        assert shown(page) == expected
