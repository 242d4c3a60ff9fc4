"""What takes minutes begins first, so that two processes share the work and neither waits for the other."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start Ray and vLLM in front."""
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)
