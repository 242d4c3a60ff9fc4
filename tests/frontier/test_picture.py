"""The picture and the page: equal bytes for equal input, every point told apart, nothing loaded."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from verl_egrsd import cli
from verl_egrsd.frontier import Point, frontier, published_points, read_points
from verl_egrsd.frontier.picture import draw_frontier
from verl_egrsd.frontier.points import PUBLISHED_MODELS
from verl_egrsd.output.intervals import Interval

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
    import json

    summary = json.loads(EXAMPLES[0].read_text()) | {"name": "</script><b>&"}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    frontier([tmp_path], tmp_path)
    page = (tmp_path / "frontier.html").read_text()
    assert "</script><b>" not in page
    assert page.count("</script>") == 1


def test_no_two_points_share_colour_and_shape_and_the_front_is_filled():
    points = [
        Point(str(i), Interval(i / 100, i / 100, i / 100), Interval(100 - i, 90 - i, 110 - i))
        for i in range(1, 31)
    ]
    (axes,) = draw_frontier(points, published_points("qwen3_4b"), "many").axes
    lines = [container.lines[0] for container in axes.containers]
    looks = [(to_hex(line.get_color()), line.get_marker()) for line in lines]
    assert len(set(looks)) == 30
    filled = [line.get_label() for line in lines if to_hex(line.get_markerfacecolor()) != "#ffffff"]
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


def test_the_command_prints_the_numbers_and_knows_the_published_models(tmp_path, capsys):
    for model in PUBLISHED_MODELS:
        out = ["--out", str(tmp_path / model), "--published", model]
        assert cli.main(["frontier", *map(str, EXAMPLES), *out]) == 0
        shown = capsys.readouterr().out
        assert "run-c        67.86 [64.33, 71.39] %" in shown
        assert "no training" in shown
    with pytest.raises(SystemExit):
        cli.main(["frontier", str(EXAMPLES[0]), "--out", str(tmp_path), "--published", "qwen3_1b"])
