"""A stage takes rows in batches, passes some on, and counts rows, reasons of drops, and seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import TypeVar

ROWS_PER_BATCH = 1024

_Taken = TypeVar("_Taken")
Passed = TypeVar("Passed")


@dataclass(frozen=True)
class Dropped:
    """What a stage returns in place of a dropped row.

    Attributes:
        reason: why the row is dropped; rows are counted by it.
        example: the row, with its value if that helps.
    """

    reason: str
    example: str = field(default="", compare=False)


@dataclass
class Stage:
    """The account of one stage.

    Attributes:
        name: as reported.
        setting: its options, in words.
        rows_in: rows that entered.
        rows_out: rows that were passed on.
        dropped: number of dropped rows, by reason.
        examples: the first dropped row, by reason.
        noted: number of kept rows with a note, by note.
        seconds: time spent in the work of this stage.
    """

    name: str
    setting: str
    rows_in: int = 0
    rows_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    noted: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def run(
        self, work: Callable[[list[_Taken]], Sequence[Passed | Dropped]], batch: list[_Taken]
    ) -> list[Passed]:
        """Return the rows of a batch that `work` keeps; it returns a row or `Dropped` for each row.

        `work` is not called for a batch that an earlier stage emptied.
        """
        results = self.timed(work, batch) if batch else []
        passed = [result for result in results if not isinstance(result, Dropped)]
        for ended in (result for result in results if isinstance(result, Dropped)):
            self.dropped[ended.reason] += 1
            if ended.example:
                self.examples.setdefault(ended.reason, ended.example)
        self.rows_in += len(batch)
        self.rows_out += len(passed)
        return passed

    def timed(self, work: Callable[[_Taken], Passed], argument: _Taken) -> Passed:
        """Return the result of `work`, and add the seconds that it took."""
        started = perf_counter()
        result = work(argument)
        self.seconds += perf_counter() - started
        return result


def batches(rows: Iterable[_Taken], size: int = ROWS_PER_BATCH) -> Iterator[list[_Taken]]:
    """Yield the rows in lists of `size`; the last one may be shorter."""
    rest = iter(rows)
    while batch := list(islice(rest, size)):
        yield batch
