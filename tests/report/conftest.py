"""The browser, which the pages of the microscope are tested with too."""

from tests.microscope.conftest import browser

__all__ = ["browser"]
