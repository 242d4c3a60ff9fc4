"""The table of the faults that were tried (tests/benchmarks/results/faults.md): the newest row of each."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.conditions import conditions_of_stack
from verl_egrsd.output.tables import text_table

HEADER = ("fault", "how it ends", "after, s", "measured")


class Fault(NamedTuple):
    """A fault, how the run ended, and the seconds from the fault to the end of the last process."""

    fault: str
    ends: str
    seconds: float


def add(path: Path, fault: Fault) -> None:
    """Write a row into the table, in place of an older one of the same fault."""
    rows = _rows(path)
    rows[fault.fault] = (fault.fault, fault.ends, f"{fault.seconds:.1f}", str(date.today()))
    page = [
        "# Faults",
        "Each row is a fault brought about in a real process by `bash tests/run_faults.sh`, and the seconds "
        "from the fault to the end of the last process; of the verdicts, the seconds for all. Other work may "
        "have used the machine meanwhile. Of several tries the last one is shown.",
        text_table(HEADER, list(rows.values()), "llrl"),
        f"Of the newest row:\n\n{conditions_of_stack(os.getloadavg()[0])}",
    ]
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")


def _rows(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the rows of a table by their first cell."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    cells = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")
    ]
    return {row[0]: row for row in cells[2:]}
