"""Build the pages of the documentation as a site, with a reference of the Python interface.

    pip install -e '.[docs]'
    python docs/build_site.py --out site

The pages are read as they stand in the repository, so a link between two of them works in both places. On the
site a link to a file that is not a page is plain text. Exit code 1 and zensical's list of what is wrong when
a link leads nowhere or a docstring does not fit its function.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs", "tests/benchmarks/results")
"""Pages, and folders of pages and pictures."""
PACKAGES = ("verl_egrsd", "data_prep")
LINK = re.compile(r"(?<!!)\[((?:[^][]|\[[^][]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
ROLE = re.compile(r":(?:meth|func|class|mod|data|attr):(?=`)")
"""Sphinx's roles, which docstrings use and Markdown does not know."""


def stage(folder: Path) -> None:
    """Write the pages to `folder/pages`, the sources to `folder/sources`, and the configuration."""
    pages, sources = folder / "pages", folder / "sources"
    for name in PAGES:
        source, target = ROOT / name, pages / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.py", "*.yml", "__pycache__"))
        else:
            shutil.copy(source, target)
    for page in pages.rglob("*.md"):
        page.write_text(_with_links_of_the_site(page.read_text(), page, pages))
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        copy = sources / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(ROLE.sub("", path.read_text()))
    settings = yaml.safe_load((ROOT / "docs" / "site.yml").read_text())
    _write_reference(pages / "reference", settings["extra"].pop("reference"))
    nav = list(_entries(settings["nav"], pages))
    settings |= {"docs_dir": "pages", "site_dir": "site", "nav": [*nav, *_others(nav, pages)]}
    (mkdocstrings,) = [plugin["mkdocstrings"] for plugin in settings["plugins"] if "mkdocstrings" in plugin]
    mkdocstrings["handlers"]["python"]["paths"] = [str(sources)]
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False))


def _with_links_of_the_site(text: str, page: Path, pages: Path) -> str:
    """Return a page's text with links to the READMEs of folders, and without links to what is not a page."""

    def replaced(found: re.Match[str]) -> str:
        label, target, anchor = found[1], found[2], found[3] or ""
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = (page.parent / target).resolve()
        if not path.is_relative_to(pages) or not (ROOT / path.relative_to(pages)).exists():
            return found[0]  # zensical will refuse it
        if path.is_dir() and (path / "README.md").exists():
            target, path = f"{target.rstrip('/')}/README.md", path / "README.md"
        return f"[{label}]({target}{anchor})" if path.is_file() else label

    return LINK.sub(replaced, text)


def _write_reference(folder: Path, modules: list[str]) -> None:
    """Write a page for each module, whose docstrings zensical then fills in."""
    folder.mkdir()
    for module in modules:
        (folder / f"{module}.md").write_text(
            f"# {module}\n\n::: {module}\n    options: {{show_root_heading: false}}\n"
        )


def _entries(nav: list[Any], pages: Path) -> Iterator[Any]:
    """Yield the entries of the navigation: each folder of pages is replaced by them, its README first."""
    for entry in nav:
        if isinstance(entry, dict):
            yield {title: list(_entries(part, pages)) for title, part in entry.items()}
        elif (pages / entry).is_dir():
            found = sorted(
                (pages / entry).glob("*.md"), key=lambda page: (page.name != "README.md", page.name)
            )
            yield from (str(page.relative_to(pages)) for page in found)
        else:
            yield entry


def _others(nav: list[Any], pages: Path) -> Iterator[Any]:
    """Yield an entry with the pages of `docs` that the navigation does not name, if there are any."""
    named = yaml.safe_dump(nav)
    found = [str(page.relative_to(pages)) for page in sorted((pages / "docs").glob("*.md"))]
    if others := [page for page in found if page not in named]:
        yield {"More": others}


def docstring_warnings(root: Path = ROOT) -> list[str]:
    """Return what griffe finds wrong with docstrings, such as an argument that its function does not have."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("griffe")
    logger.addHandler(handler)
    loader = griffe.GriffeLoader(search_paths=[root], docstring_parser="google")
    for package in PACKAGES:
        _parse_docstrings(loader.load(root / package))
    logger.removeHandler(handler)
    return found


def _parse_docstrings(thing: Any) -> None:
    if thing.docstring:
        _ = thing.docstring.parsed  # griffe warns while it parses
    for member in thing.members.values():
        if not member.is_alias:
            _parse_docstrings(member)


def build(out: Path) -> str:
    """Build the site into a new folder and return what zensical said.

    Raises:
        ValueError: with zensical's list of what is wrong.
    """
    if out.exists():
        raise ValueError(f"{out} exists already: remove it, or choose another --out.")
    if wrong := docstring_warnings():
        raise ValueError("\n".join(wrong))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        stage(folder)
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True
        )
        said = done.stdout + done.stderr
        if done.returncode or "warning" in said.lower():
            raise ValueError(said)
        shutil.copytree(folder / "site", out)
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; it must not exist")
    try:
        out = parser.parse_args().out
        build(out)
        print(f"{out / 'index.html'}")
    except ValueError as error:
        sys.exit(str(error))
