"""The picture and the page: equal bytes for equal input, every point told apart, nothing loaded."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from tests.support.browser import windows
from verl_egrsd import cli
from verl_egrsd.evaluation.published import PUBLISHED_MODELS
from verl_egrsd.frontier import Point, frontier, published_points, read_points
from verl_egrsd.frontier.picture import draw_frontier
from verl_egrsd.output.intervals import Interval
from verl_egrsd.output.pictures import render, undrawable

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.json"))
FILES = ("frontier.png", "frontier.svg", "frontier.html")


def made(folder, **options):
    frontier(EXAMPLES, folder, **options)
    return {name: (folder / name).read_bytes() for name in FILES}


def test_equal_input_gives_equal_bytes_also_in_another_process(tmp_path):
    here = made(tmp_path / "here", published="qwen3_4b")
    command = [sys.executable, "-m", "verl_egrsd.cli", "frontier", *map(str, EXAMPLES)]
    there = tmp_path / "there"
    subprocess.run(
        [*command, "--published", "qwen3_4b", "--out", str(there)],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert here == {name: (there / name).read_bytes() for name in FILES}


def test_other_numbers_give_another_picture(tmp_path):
    average, single = made(tmp_path / "a"), made(tmp_path / "b", benchmark="gsm8k")
    assert all(average[name] != single[name] for name in FILES)


def test_a_label_of_the_length_is_the_length_where_it_stands():
    points = [Point(str(x), Interval(0.7, 0.6, 0.8), Interval(x, x - 1, x + 1)) for x in (74.0, 91.0)]
    axis = draw_frontier(points, None, "near").axes[0].xaxis
    assert [label.get_text() for label in axis.get_ticklabels()] == [f"{x:g}" for x in axis.get_ticklocs()]


class Text(HTMLParser):
    """Cells of the table, and every attribute that could load something."""

    def __init__(self, page):
        super().__init__()
        self.cells, self.loads, self.inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "td"
        loading = {"src", "href", "xlink:href", "action", "data", "srcset"}
        self.loads += [value for name, value in attributes if name in loading and not value.startswith("#")]

    def handle_data(self, data):
        if self.inside and data.strip():
            self.cells.append(data.strip())


def test_the_page_holds_every_number_and_loads_nothing(tmp_path):
    page = made(tmp_path, published="qwen3_8b")["frontier.html"].decode()
    text = Text(page)
    assert text.loads == []
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", page)
    for point in read_points(EXAMPLES):
        assert point.name in text.cells
        low, high = (100 * end for end in point.accuracy[1:])
        assert f"{100 * point.accuracy.value:.2f} [{low:.2f}, {high:.2f}] %" in text.cells
        assert f"{point.efficiency:.2f}" in text.cells
    assert "about 11,370 tokens" in text.cells
    assert text.cells.count("on the front") == 2


def test_every_point_of_the_page_has_its_mark_in_the_picture(tmp_path):
    page = made(tmp_path, published="qwen3_4b")["frontier.html"].decode()
    count = len(EXAMPLES) + 7
    assert re.findall(r'<g id="point-(\d+)">', page) == [str(i) for i in range(count)]
    assert re.findall(r'data-point="(\d+)"', page) == [str(i) for i in range(count)]


def test_a_name_cannot_break_the_page(tmp_path):
    summary = json.loads(EXAMPLES[0].read_text()) | {"name": "</script><b>&"}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    frontier([tmp_path], tmp_path)
    page = (tmp_path / "frontier.html").read_text()
    assert "</script><b>" not in page
    assert page.count("</script>") == 2  # the numbers and the script


def many(folder, count=24):
    """The page of this many summaries; the first has a name that could break a line, a page or a formula."""
    summary, files = json.loads(EXAMPLES[0].read_text()), []
    names = ("$a_1$ of 基线 <b>مرحبا</b>_" + "x" * 60, *(f"run {i}" for i in range(1, count)))
    for index, name in enumerate(names):
        files.append(folder / f"{index}.json")
        files[-1].write_text(json.dumps(summary | {"name": name}))
    frontier(files, folder, published="qwen3_4b")
    return folder / "frontier.html"


def test_with_many_runs_the_table_has_the_numbers_of_the_picture(tmp_path):
    page = many(tmp_path).read_text()
    assert re.findall(r'<td class="number">(\d+)</td>', page) == [str(i + 1) for i in range(24 + 7)]
    few = made(tmp_path / "few")["frontier.html"].decode()
    assert '<td class="number">' not in few


def test_the_page_fits_narrow_and_wide_windows_and_points_at_rows_and_marks(browser, tmp_path):
    page = browser.new_page()
    page.goto(many(tmp_path).as_uri())
    assert len([*windows(page)]) == 4
    page.locator("tr[data-point='26']").hover()
    assert page.locator("#point-26").evaluate("mark => mark.classList.contains('chosen')")
    page.evaluate("scrollTo(0, 0)")
    mark = page.locator("#point-26").bounding_box()
    page.mouse.move(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    assert "tokens" in page.locator("#tip").text_content()
    assert page.locator("tr.chosen").count() == 1
    page.close()


@pytest.fixture
def plain_point():
    def build(name, place=1):
        accuracy, length = place / 100, 100.0 - place
        return Point(name, Interval(*[accuracy] * 3), Interval(*[length] * 3))

    return build


def legend(figure):
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


@pytest.mark.parametrize("name", ["$5 or \\alpha$", "$unpaired", "_hidden", "100 % {x}"])
def test_a_name_stands_in_the_legend_as_it_is(plain_point, name):
    figure = draw_frontier([plain_point(name)], None, name)
    assert legend(figure)[0].startswith(f"{name}: 1.0 %")
    texts = [figure.axes[0].title, *(text for box in figure.legends for text in box.get_texts())]
    assert not any(text.get_parse_math() for text in texts)
    render(figure, "png")


@pytest.mark.filterwarnings("error")
def test_characters_that_no_font_has_stay_text_for_the_readers_browser(plain_point):
    strange = "\U000e0fff"  # in no font
    figure = draw_frontier([plain_point(f"run {strange}")], None, "title")
    assert undrawable(figure) == strange
    assert f"run {strange}: 1.0 %" in render(figure, "svg").decode()
    render(figure, "png")
    drawn = render(draw_frontier([plain_point("run")], None, "title"), "svg").decode()
    assert "<text" not in drawn


def test_a_long_name_is_wrapped_and_leaves_most_of_the_width_to_the_picture(plain_point):
    figure = draw_frontier([plain_point("word " * 40)], None, "title")
    figure.draw_without_rendering()
    assert legend(figure)[0].count("\n") >= 4
    assert figure.axes[0].get_position().width > 0.5


def test_many_points_carry_their_numbers_and_few_do_not(plain_point):
    for count, numbered in ((7, False), (24, True)):
        points = [plain_point(f"run {i}", i + 1) for i in range(count)]
        figure = draw_frontier(points, None, "title")
        numbers = [text.get_text() for text in figure.axes[0].texts if text.get_text().isdecimal()]
        assert numbers == ([str(i + 1) for i in range(count)] if numbered else [])
        assert legend(figure)[-1].startswith(f"{count}  run" if numbered else "run 6")


def test_no_two_points_share_colour_and_shape_and_the_front_is_filled():
    points = [
        Point(str(i), Interval(i / 100, i / 100, i / 100), Interval(100 - i, 90 - i, 110 - i))
        for i in range(1, 31)
    ]
    (axes,) = draw_frontier(points, published_points("qwen3_4b"), "many").axes
    lines = [container.lines[0] for container in axes.containers]
    looks = [(to_hex(line.get_color()), line.get_marker()) for line in lines]
    assert len(set(looks)) == 30
    assert len({colour for colour, _ in looks}) == 19
    filled = [line for line in lines if to_hex(line.get_markerfacecolor()) != "#ffffff"]
    assert len(filled) == 1  # the last one is the most accurate and the shortest


def test_all_intervals_are_inside_the_frame():
    points = read_points(EXAMPLES)
    (axes,) = draw_frontier(points, None, "title").axes
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for point in points:
        assert left < point.length.low <= point.length.high < right
        assert bottom < 100 * point.accuracy.low <= 100 * point.accuracy.high < top


def test_one_point_without_an_interval_can_be_drawn(tmp_path):
    point = Point("only", Interval(0.5, 0.5, 0.5), Interval(1000, 1000, 1000))
    (axes,) = draw_frontier([point], None, "one").axes
    assert axes.get_xlim()[0] < 1000 < axes.get_xlim()[1]


def test_published_averages_beside_a_single_benchmark_are_refused(tmp_path, capsys):
    arguments = ["frontier", str(EXAMPLES[0]), "--out", str(tmp_path), "--benchmark", "gsm8k"]
    assert cli.main([*arguments, "--published", "qwen3_4b"]) == 1
    assert "the published lengths are averages" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_published_averages_beside_other_benchmarks_are_refused(tmp_path, capsys):
    summary = json.loads(EXAMPLES[0].read_text())
    summary["benchmarks"] = {"sums": {"problems": 128, "samples": 4}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    arguments = ["frontier", str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, "--published", "qwen3_4b"]) == 1
    told = capsys.readouterr().err
    assert "covers sums (128 problems), but the published averages are over aime24 (30 problems)" in told
    assert not (tmp_path / "out").exists()
    assert cli.main(arguments) == 0


def test_the_command_prints_the_numbers_and_knows_the_published_models(tmp_path, capsys):
    for model in PUBLISHED_MODELS:
        out = ["--out", str(tmp_path / model), "--published", model]
        assert cli.main(["frontier", *map(str, EXAMPLES), *out]) == 0
        shown = capsys.readouterr().out
        assert "run-c        67.86 [64.33, 71.39] %" in shown
        assert "no training" in shown
    with pytest.raises(SystemExit):
        cli.main(["frontier", str(EXAMPLES[0]), "--out", str(tmp_path), "--published", "qwen3_1b"])
