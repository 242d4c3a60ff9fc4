"""Headless Chromium for the tests of pages; `tests/conftest.py` makes the fixture known to all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; ends with the module, since its event loop would keep others from theirs."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        # Without a sandbox Chromium also runs as root, as in containers; it opens our own files only.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def windows(page: Any) -> Iterator[tuple[int, str]]:
    """Show a page in narrow and wide windows, light and dark: it fits each, and the colours differ."""
    colours = {}
    for width, scheme in product((400, 1280), ("light", "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
        style = "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
        colours[scheme] = page.evaluate(style)
        yield width, scheme
    assert colours["light"] != colours["dark"]
