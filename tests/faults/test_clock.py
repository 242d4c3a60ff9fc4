"""A clock that is set while something runs changes no duration: durations come from a monotonic clock."""

import ast

import pytest

from tests.test_docs import ROOT

FOLDERS = ("verl_egrsd", "data_prep", "recipes")
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
ALLOWED = {
    # Times that people read, not differences of them.
    "verl_egrsd/report/ending.py": "datetime.now",
    # When an attempt began: one that is killed lasted until its log was last written.
    "recipes/reproduce/spent.py": "time.time",
    # The same template rendered on two days.
    "verl_egrsd/teacher/context.py": "datetime.now",
}


def clocks(source):
    """Calls that read the clock of the day."""
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {call for call in calls if call.endswith(("time.time", "datetime.now", "time.time_ns"))}


def test_no_module_takes_a_duration_from_the_clock_of_the_day():
    found = {str(path.relative_to(ROOT)): clocks(path.read_text()) for path in MODULES}
    assert {(path, call) for path, calls in found.items() for call in calls} == {*ALLOWED.items()}


@pytest.mark.parametrize("code", ["time.time() - began", "end = datetime.datetime.now()"])
def test_a_clock_of_the_day_is_seen(code):
    assert clocks(code)
