"""Turn the six benchmarks of the paper into verl's parquet, one file each.

    python -m data_prep.benchmarks --out data/benchmarks
    python -m data_prep.benchmarks --out data/benchmarks --only gsm8k math500 --source math500=math500.jsonl

Every file is checked before it gets its name: it has the expected number of rows, each row has a problem and
an answer, no problem occurs twice, and the verifier accepts each answer as equal to itself. The table at the
end counts the answers that math-verify cannot read. A response to such a problem is correct only when it
writes the answer the same way.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prep.parquet import parquet_writer
from data_prep.rows import VerlRow, to_row, without_marks
from data_prep.sources import read_rows
from data_prep.values import UnreadableError, as_answer
from verl_egrsd.output.files import file_digest
from verl_egrsd.output.lock import only_writer
from verl_egrsd.output.tables import text_table
from verl_egrsd.processes import ended_by_signals
from verl_egrsd.reward import VerdictPool, final_answer, normalise

SPLIT = "test"
PROCESSES = 2
"""Processes that verify the answers."""


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark comes from and what it must look like.

    Attributes:
        name: name of the file, and `data_source` of each row.
        title: name in tables.
        rows: number of its problems; another number is an error.
        hub_id, config, split: the data set on the hub.
        problem, solution, answer: possible names of the column; the first one found counts. Without an answer
            column, the answer is the last `\\boxed{}` or `#### x` of the solution.
        largest_integer: every answer is a whole number from 0 to this one; None for answers of any form.
    """

    name: str
    title: str
    rows: int
    hub_id: str
    config: str | None = None
    split: str = "test"
    problem: tuple[str, ...] = ("problem", "question")
    solution: tuple[str, ...] = ("solution",)
    answer: tuple[str, ...] = ("answer",)
    largest_integer: int | None = None


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "aime24",
            "AIME24",
            30,
            "HuggingFaceH4/aime_2024",
            split="train",
            solution=("solution", "reference_solution"),
            answer=("answer", "expected_answer"),
            largest_integer=999,
        ),
        Benchmark("aime25", "AIME25", 30, "math-ai/aime25", largest_integer=999),
        Benchmark("hmmt_feb_2025", "HMMT Feb 2025", 30, "MathArena/hmmt_feb_2025", split="train"),
        Benchmark("math500", "MATH-500", 500, "HuggingFaceH4/MATH-500"),
        Benchmark("minerva", "Minerva", 272, "math-ai/minervamath"),
        Benchmark("gsm8k", "GSM8K", 1319, "openai/gsm8k", "main", solution=("answer",), answer=()),
    )
}
"""The benchmarks by name, in the paper's order. Their names are defined here only.

Hub ids, splits and columns come from public cards and code. Loading them from the hub is untested. Column
names after the first come from other public copies.
"""


def benchmark_rows(benchmark: Benchmark, source: str | None = None) -> Iterator[VerlRow]:
    """Yield a benchmark's rows in verl's schema, in the order of the source.

    Args:
        benchmark: one of :data:`BENCHMARKS`.
        source: a file or a folder of shards; None for the benchmark's hub id.

    Raises:
        ValueError: naming the benchmark and, if possible, the row; see :func:`to_benchmark_row`. Also when
            the number of rows is not the expected one, or when a problem occurs twice.
    """
    origin = source or benchmark.hub_id
    seen: dict[str, int] = {}
    index = -1
    for index, raw in enumerate(read_rows(origin, config=benchmark.config, split=benchmark.split)):
        row = to_benchmark_row(benchmark, raw, index, Path(origin).name if source else origin)
        first = seen.setdefault(row["extra_info"]["hash"], index)
        if first != index:
            raise ValueError(f"{benchmark.name}: rows {first} and {index} of {origin} are the same problem.")
        yield row
    if index + 1 != benchmark.rows:
        raise ValueError(
            f"{benchmark.name} has {benchmark.rows} problems, {origin} has {index + 1} rows: give the whole "
            f"split {benchmark.split!r} and nothing else."
        )


def to_benchmark_row(benchmark: Benchmark, raw: Mapping[str, Any], index: int, source: str) -> VerlRow:
    """Return a row in verl's schema.

    Args:
        benchmark: one of :data:`BENCHMARKS`.
        raw: a row of its source.
        index: number of the row.
        source: what `extra_info.source` names.

    Raises:
        ValueError: for missing columns, listing the columns found; for an empty problem or answer; for an
            answer outside the benchmark's range.
    """
    where = f"{benchmark.name}, row {index}"
    problem = _text(raw, benchmark.problem, where)
    solution = _text(raw, benchmark.solution, where)
    answer = _text(raw, benchmark.answer, where)
    if problem is None or (answer is None and solution is None):
        raise ValueError(
            f"{where}: needs a column {' or '.join(benchmark.problem)} and a column "
            f"{' or '.join((*benchmark.answer, *benchmark.solution))}; columns found: {', '.join(raw)}."
        )
    answer = clean_answer(final_answer(solution or "") if answer is None else answer)
    if not problem or not answer:
        raise ValueError(f"{where}: the {'problem' if not problem else 'answer'} is empty.")
    if benchmark.largest_integer is not None:
        answer = _integer(answer, benchmark.largest_integer, where)
    return to_row(
        data_source=benchmark.name,
        problem=problem,
        solution=without_marks(solution or ""),
        answer=answer,
        index=index,
        split=SPLIT,
        source=source,
    )


def clean_answer(answer: str) -> str:
    """Return an answer without dollar signs around it; a plain number also without thousands separators."""
    bare = re.sub(r"\{,\}|,\\!\s*", ",", answer.strip())
    if formula := re.fullmatch(r"\$+([^$]+)\$+", bare):
        bare = formula[1].strip()
    return normalise(bare) if re.fullmatch(r"[\\$\d,.+-]+", bare) else bare


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files and print a table of them; exit code 1 with a message when one cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for NAME.parquet")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=BENCHMARKS,
        default=list(BENCHMARKS),
        metavar="NAME",
        help=f"some of {', '.join(BENCHMARKS)} (all)",
    )
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        type=_named_source,
        metavar="NAME=PATH",
        help="read a benchmark from a file or a folder of shards; may be given again",
    )
    options = parser.parse_args(arguments)
    sources = dict(options.source)
    if unused := sources.keys() - set(options.only):
        parser.error(f"--source names {', '.join(sorted(unused))}, which --only leaves out.")
    head, rows = ("benchmark", "rows", "compared as strings only", "file", "SHA-256"), []
    try:
        with (
            ended_by_signals("data_prep.benchmarks"),
            only_writer(options.out, "choose another --out"),
            VerdictPool(PROCESSES) as pool,
        ):
            for name in options.only:
                benchmark, path = BENCHMARKS[name], options.out / f"{name}.parquet"
                unread = write_benchmark(benchmark, path, sources.get(name), pool)
                sizes = (f"{benchmark.rows:,}", str(unread))
                rows.append((benchmark.title, *sizes, str(path), file_digest(path)))
    except ValueError as error:
        print(
            f"{error}\nGive another source with --source {name}=PATH, or choose others with --only.",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(f"data_prep.benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        print(text_table(head, rows, "lrrll"))
    return 0


def write_benchmark(benchmark: Benchmark, path: Path, source: str | None, pool: VerdictPool) -> int:
    """Write a benchmark's parquet file, after all its rows were checked.

    Returns:
        The number of answers that math-verify cannot read; they are compared as strings only.

    Raises:
        ValueError: as :func:`benchmark_rows`, and for an answer that the verifier does not accept as equal to
            itself. The file is then not written.
    """
    rows = list(benchmark_rows(benchmark, source))
    answers = [row["reward_model"]["ground_truth"] for row in rows]
    verdicts = pool.verify((f"\\boxed{{{answer}}}", answer) for answer in answers)
    unread = 0
    with parquet_writer(path) as writer:
        checked = tqdm(zip(rows, verdicts, strict=True), benchmark.title, len(rows), unit="row", leave=False)
        for row, verdict in checked:
            if not verdict.correct:
                raise ValueError(
                    f"{benchmark.name}, row {row['extra_info']['index']}: the verifier does not accept the "
                    f"answer {row['extra_info']['answer']!r} as equal to itself ({verdict.reason})."
                )
            unread += verdict.math != "correct"
            writer.write(row)
    return unread


def _text(raw: Mapping[str, Any], names: Sequence[str], where: str) -> str | None:
    """Return the first of these columns that the row has, "" for a null; None if it has no such column."""
    name = next((name for name in names if name in raw), None)
    try:
        return None if name is None else as_answer(raw[name])
    except UnreadableError as error:
        raise ValueError(f"{where}: the column {name} holds {error}. Write it as text.") from None


def _integer(answer: str, largest: int, where: str) -> str:
    """Return a whole number without leading zeros."""
    if not re.fullmatch(r"\d{1,9}", answer, re.ASCII) or int(answer) > largest:
        raise ValueError(f"{where}: the answer {answer!r} is not a whole number from 0 to {largest}.")
    return str(int(answer))


def _named_source(text: str) -> tuple[str, str]:
    """Split NAME=PATH."""
    name, _, path = text.partition("=")
    if name not in BENCHMARKS or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH with a NAME of {', '.join(BENCHMARKS)}")
    return name, path


if __name__ == "__main__":
    sys.exit(main())
