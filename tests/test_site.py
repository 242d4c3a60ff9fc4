"""The documentation builds as a site without a warning, with every page and the whole Python interface."""

from __future__ import annotations

import ast
import re
import runpy
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from tests.output.test_hostile_text import HOSTILE, Elements

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[1]
SITE = runpy.run_path(str(ROOT / "docs" / "build_site.py"))
REFERENCE = yaml.safe_load((ROOT / "docs" / "site.yml").read_text())["extra"]["reference"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning ends the build."""
    out = tmp_path_factory.mktemp("site") / "out"
    assert "No issues found" in SITE["build"](out)
    return out


def test_the_navigation_leads_to_every_page(site):
    linked = set(re.findall(r'href="(?:\./)?([^"#]+\.html)"', (site / "index.html").read_text()))
    folders = [ROOT, *(ROOT / name for name in ("docs", "docs/methods", "tests/benchmarks/results"))]
    pages = {
        str(page.relative_to(ROOT).with_suffix(".html")) for folder in folders for page in folder.glob("*.md")
    }
    assert {page.replace("README.html", "index.html") for page in pages} <= linked


def exported(source: str) -> list[str]:
    """The names of `__all__`."""
    (names,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return names


@pytest.mark.parametrize("module", REFERENCE)
def test_every_public_name_of_a_package_is_in_the_reference(site, module):
    text = (site / "reference" / f"{module}.html").read_text()
    source = ROOT / module.replace(".", "/") / "__init__.py"
    names = exported(source.read_text()) if source.exists() else []
    assert [name for name in names if f'id="{module}.{name}"' not in text] == []
    assert "doc-heading" in text


def test_no_docstring_contradicts_its_function():
    assert SITE["docstring_warnings"]() == []


def test_a_docstring_with_an_argument_that_is_not_there_is_found(tmp_path):
    for name in ("verl_egrsd", "data_prep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    wrong = 'def f(a: int) -> int:\n    """Do.\n\n    Args:\n        b: a number.\n    """\n    return a\n'
    (tmp_path / "data_prep" / "some.py").write_text(wrong)
    assert any(
        "'b' does not appear in the function signature" in line
        for line in SITE["docstring_warnings"](tmp_path)
    )


def test_a_link_to_what_is_not_a_page_becomes_text_and_others_stay(tmp_path):
    (tmp_path / "docs" / "methods").mkdir(parents=True)
    (tmp_path / "docs" / "methods" / "README.md").touch()
    (tmp_path / "docs" / "method.md").touch()
    change = SITE["_with_links_of_the_site"]
    page = tmp_path / "README.md"
    for text, expected in {
        "[a](docs/method.md#part)": "[a](docs/method.md#part)",
        "[a](docs/methods)": "[a](docs/methods/README.md)",
        "[`code`](verl_egrsd/main.py)": "`code`",
        "[a](https://example.org/x)": "[a](https://example.org/x)",
        "![a](docs/some.png)": "![a](docs/some.png)",
        "[a](#part)": "[a](#part)",
        "[a](nowhere.md)": "[a](nowhere.md)",
    }.items():
        assert change(text, page, tmp_path) == expected


def test_a_folder_that_exists_is_refused(tmp_path):
    with pytest.raises(ValueError, match="exists already"):
        SITE["build"](tmp_path)


def test_pages_open_from_the_folder_without_a_network_and_fit_the_window(site, browser):
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name, width in product(("index", "docs/configuration", "reference/verl_egrsd.credit"), (400, 1280)):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
    context.close()
    assert [url for url in asked if not re.match("file:", url)] == []


SCRIPT = re.compile(r"<script([^>]*)>(.*?)</script>", re.DOTALL)
SCRIPTS = {
    *('src="docs/iframe-worker.js"', 'src="assets/javascripts/bundle.js"', 'id="__config"'),
    *("var palette=", "var target=", "__md_scope="),
}
"""Those of the theme, and ours, with which the search needs no server: where each is, or how it begins."""


def pages_of(site):
    """Every page but the one that only a server shows, at any depth."""
    found = sorted(set(site.rglob("*.html")) - {site / "404.html"})
    assert len(found) > 90
    return found


def test_every_page_has_the_scripts_of_the_theme_and_no_other(site):
    for page in pages_of(site):
        text = page.read_text()
        found = set()
        for attributes, code in SCRIPT.findall(text):
            if source := re.search(r'src="([^"]+)"', attributes):
                file = str((page.parent / source[1]).resolve().relative_to(site))
                found.add(f'src="{re.sub(r"[.][0-9a-f]{8}[.]min", "", file)}"')
            else:
                known = (start for start in SCRIPTS if start in attributes or code.startswith(start))
                found.add(next(known, code))
        assert found == SCRIPTS, page
        assert {*Elements(text).suspicious} <= {"form", "img"}, page


@pytest.fixture
def visitor(site, browser):
    """A window, and what it must not see: errors in the console, requests beyond the folder of the site."""
    context = browser.new_context()
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(site.as_uri()) else wrong.append(asked.url))
    yield page, wrong
    context.close()


def test_every_page_opens_without_an_error_and_asks_no_other_host(site, visitor):
    page, wrong = visitor
    for file in pages_of(site):
        page.goto(file.as_uri())
        assert page.locator("h1").count() >= 1, file
        assert wrong == [], file


def test_the_search_finds_a_word_in_a_folder_and_nothing_of_a_hostile_one_runs(site, visitor):
    page, wrong = visitor
    for name in ("q", "h"):
        page.goto(f"{(site / 'index.html').as_uri()}?{name}={quote(f'gate {HOSTILE}')}")
        assert page.evaluate("window.ran") is None
    page.goto((site / "index.html").as_uri())
    page.locator(".md-search__button").click()
    box, found = page.get_by_role("combobox", name="Search"), page.get_by_role("option")
    for word, results in (("gate", True), (HOSTILE, False), ("gate", True), (f"gate {HOSTILE}", False)):
        box.fill(word)
        found.first.wait_for(state="visible" if results else "detached")
        assert page.locator("dialog").locator("img, script, iframe").count() == 0
        assert page.evaluate("window.ran") is None
    assert wrong == []
