from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.table import Fault, add

pytest_plugins = ["pytester"]


def test_a_fault_measured_again_replaces_its_row_and_leaves_the_others(tmp_path):
    table = tmp_path / "faults.md"
    for fault in (Fault("first", "one", 1.0), Fault("second", "two", 2.0), Fault("first", "three", 3.25)):
        add(table, fault)
    lines = [line.split() for line in table.read_text().splitlines()]
    rows = [words[3:6:2] for words in lines if words[1:2] in (["first"], ["second"])]
    assert rows == [["three", "3.2"], ["two", "2.0"]]


@pytest.mark.parametrize("chosen", [(), ("-m", "not stack"), ("-m", "faults")])
def test_long_faults_run_only_where_they_are_asked_for(pytester, chosen):
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n    stack\n    faults")
    pytester.makepyfile("import pytest\n@pytest.mark.faults\ndef test_long(): pass\ndef test_short(): pass")
    result = pytester.inline_run("-p", "no:xdist", *chosen)
    (passed,) = result.listoutcomes()[0]
    assert passed.nodeid.endswith("test_long" if "faults" in chosen else "test_short")
