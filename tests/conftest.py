"""The mark `stack`, and in which order the tests run when two processes share them (`--dist loadfile`)."""

import os
import secrets
import signal

import pytest

from tests.support import warm_python
from tests.support.browser import browser

__all__ = ["browser"]

LONGEST_FIRST = (
    "end_to_end/test_recipes.py",
    "stack/test_methods.py",
    "recipes/miniature/test_run.py",
    "end_to_end/test_prepared_data.py",
    "end_to_end/test_stock_verl.py",
    "stack/",
    "evaluation/test_run.py",
    "test_imports.py",
)
"""What takes minutes begins first, so that neither process waits for the other (tests/README.md)."""


def pytest_configure(config: pytest.Config) -> None:
    """Start one server of imports for all processes that share the tests.

    A shell has the commands that it starts in the background ignore Ctrl-C, and their children inherit that.
    Tests send it to processes that they start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Ray would take the user's, or make one in the user's home.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if not hasattr(config, "workerinput"):
        config.add_cleanup(warm_python.start())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by length; what starts Ray or a browser, and everything in stack/, is marked `stack`."""
    for item in items:
        browses = "browser" in getattr(item, "fixturenames", ())
        if browses or _starts_ray(item) or item.nodeid.startswith("tests/stack/"):
            item.add_marker("stack")
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> tuple[bool, int]:
    places = [place for place, path in enumerate(LONGEST_FIRST) if f"tests/{path}" in item.nodeid]
    return not _starts_ray(item), min(places, default=len(LONGEST_FIRST))


def _starts_ray(item: pytest.Item) -> bool:
    return item.get_closest_marker("ray") is not None
