"""Speed and memory of `data_prep.openthoughts` on rows of the size of OpenThoughts-114k.

    python -m tests.benchmarks.data_prep --rows 114000 --table tests/benchmarks/results/data_prep.md

Run it from the root of the checkout. Each part runs in a process of its own. Memory is the largest sum, over
samples five times a second, of the resident sets of the preparing process and all its children; pages that
several of them share count several times.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from verl_egrsd.output.tables import text_table

ROWS_PER_SHARD = 10_000
REASONING_CHARACTERS = 30_000
MAPPED_ROWS = 20_000
"""Rows of the comparison with `datasets.map`, which would take minutes on all of them."""
BENCHMARK_PROBLEMS = 2_181
MEBIBYTE = 2**20


WORDS = sorted(set(re.findall(r"\b[a-z]{2,}\b", " ".join(topics.values()))))
"""English words that every Python ships, so that the tokenizer meets real ones."""


def answer(draw: random.Random) -> tuple[str, str]:
    """Return an answer in two spellings: as the solution gives it, and as the ground truth does."""
    a, b, c = (draw.randrange(2, 99) for _ in range(3))
    spellings = [
        (str(a * b), str(a * b)),
        (f"\\frac{{{a}}}{{{b + 99}}}", f"\\dfrac{{{a}}}{{{b + 99}}}"),
        (f"{a}/{b + 99}", f"\\frac{{{a}}}{{{b + 99}}}"),
        (f"{a}\\sqrt{{{b}}}", f"{a} \\sqrt{{{b}}}"),
        (f"({a}, {b})", f"\\left({a},{b}\\right)"),
        (f"{a}x^2 + {b}x - {c}", f"{b}x + {a}x^2 - {c}"),
        (f"{a} \\text{{ cm}}", str(a)),
        (f"x = {a}", str(a)),
    ]
    # Half of the answers are whole numbers, as in competition mathematics.
    return draw.choice([*spellings, *spellings[:1] * 6])


def words(draw: random.Random, characters: int) -> str:
    """Return about this many characters of words with some LaTeX between them."""
    parts: list[str] = []
    size = 0
    while size < characters:
        number = draw.randrange(400)
        part = f"$x_{{{number}}} + {number}$" if number % 20 == 0 else draw.choice(WORDS)
        parts.append(part)
        size += len(part) + 1
    return " ".join(parts)


def raw_row(number: int, benchmark: list[str]) -> dict[str, str]:
    """Return a row of the schema `metadata`; a few repeat, contradict or leak on purpose."""
    kind = number % 100
    # An exact duplicate repeats the row before it, a near one that before both.
    draw = random.Random(number - kind if kind in (1, 2) else number)
    problem = words(draw, 600)
    given, truth = answer(draw)
    if kind == 2:
        problem = problem.replace(" ", " indeed ", 1)
    if kind == 3:
        truth = "-7"
    if kind == 4:
        problem = f"Consider this. {benchmark[number % len(benchmark)]}"
    return {
        "problem": problem,
        "deepseek_reasoning": f"{number}: hmm, wait. " * (REASONING_CHARACTERS // 19),
        "deepseek_solution": f"{words(draw, 3_300)}\n\n**Answer:** \\boxed{{{given}}}",
        "ground_truth_solution": f"So it is $\\boxed{{{truth}}}$.",
        "domain": "code" if kind == 5 else "math",
        "source": "synthetic",
    }


def make_source(folder: Path, rows: int) -> None:
    """Write the raw rows as parquet shards, the benchmarks' problems, and the Qwen3 tokenizer."""
    from data_prep.parquet import parquet_writer
    from data_prep.rows import to_row
    from recipes.rehearsal.tokenizer import build_qwen3_tokenizer

    problems = [words(random.Random(f"benchmark {number}"), 300) for number in range(BENCHMARK_PROBLEMS)]
    with parquet_writer(folder / "benchmarks" / "synthetic.parquet") as writer:
        for index, problem in enumerate(problems):
            writer.write(
                to_row(
                    data_source="synthetic",
                    problem=problem,
                    solution="",
                    answer="1",
                    index=index,
                    split="test",
                    source="synthetic",
                )
            )
    (folder / "raw").mkdir()
    for start in range(0, rows, ROWS_PER_SHARD):
        numbers = range(start, min(start + ROWS_PER_SHARD, rows))
        schema = pa.schema([(name, pa.string()) for name in raw_row(0, problems)])
        with pq.ParquetWriter(folder / "raw" / f"{start:06d}.parquet", schema, compression="zstd") as shard:
            for first in range(numbers.start, numbers.stop, 500):
                chunk = [raw_row(number, problems) for number in range(first, min(first + 500, numbers.stop))]
                shard.write_table(pa.Table.from_pylist(chunk, schema=schema))
    build_qwen3_tokenizer(folder / "qwen3")


def read_alone(folder: Path, columns: tuple[str, ...] | None) -> float:
    """Return the seconds that reading takes: the floor."""
    from data_prep.sources import read_rows

    started = time.perf_counter()
    for _ in read_rows(str(folder / "raw"), columns=columns):
        pass
    return time.perf_counter() - started


def prepare(folder: Path, workers: int) -> dict[str, Any]:
    """Return seconds and rows of each stage, all seconds, and the peak of memory."""
    from data_prep.openthoughts import Preparation
    from data_prep.options import Options

    options = Options(
        source=str(folder / "raw"),
        out=folder / "out",
        benchmarks=folder / "benchmarks",
        tokenizer=str(folder / "qwen3"),
        workers=workers,
    )
    started = time.perf_counter()
    with peak_memory() as peak:
        card = Preparation(options).run()
    return {
        "seconds": time.perf_counter() - started,
        "processor": sum(os.times()[:4]),
        "peak": peak[0],
        "stages": [(stage.name, stage.rows_in, stage.rows_out, stage.seconds) for stage in card.stages],
    }


class peak_memory:  # noqa: N801 - reads as a function
    """Samples the resident memory of this process and its children while the block runs."""

    def __enter__(self) -> list[int]:
        self.peak, self.done = [0], threading.Event()
        self.thread = threading.Thread(target=self._sample)
        self.thread.start()
        return self.peak

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _sample(self) -> None:
        while not self.done.wait(0.2):
            self.peak[0] = max(self.peak[0], sum(_resident(p) for p in _family()))


def _family() -> Iterator[psutil.Process]:
    own = psutil.Process()
    yield own
    yield from own.children(recursive=True)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:  # a worker that was replaced in the meantime
        return 0


def map_verification(folder: Path, workers: int, rows: int) -> float:
    """Return the seconds of `datasets.map` that verifies rows with plain math-verify, and nothing else."""
    import datasets

    data = datasets.load_dataset(
        "parquet",
        data_files=[str(path) for path in sorted((folder / "raw").glob("*.parquet"))],
        split=f"train[:{rows}]",
        columns=["deepseek_solution", "ground_truth_solution"],
        cache_dir=str(folder / "cache"),
    )
    started = time.perf_counter()
    data.map(_plain_verdict, num_proc=workers)
    return time.perf_counter() - started


def _plain_verdict(row: dict[str, str]) -> dict[str, bool]:
    from math_verify import parse, verify

    truth, given = (
        parse(row[name], parsing_timeout=None) for name in ("ground_truth_solution", "deepseek_solution")
    )
    return {"correct": verify(truth, given, timeout_seconds=None)}


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the work returns in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def table(rows: int, workers: int, source_bytes: int, found: dict[str, Any], times: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    seconds, load = found["seconds"], ", ".join(f"{x:.1f}" for x in times["load"])
    mapped = min(rows, MAPPED_ROWS)
    map_rate = mapped / times["map"]
    packages = ("pyarrow", "datasets", "datasketch", "math-verify", "sympy", "tokenizers", "transformers")
    mapping = f"`datasets.map`, {workers} processes, plain math-verify and nothing else, on {mapped:,} rows"
    measured = [
        ("all stages", f"{seconds:,.0f} s", "900 s"),
        ("processor time of all processes", f"{found['processor']:,.0f} s", ""),
        ("rows per second", f"{rows / seconds:,.0f}", ""),
        ("peak of resident memory, all processes", f"{found['peak'] / 1e6:,.0f} MB", "2,000 MB"),
        ("floor: the columns that are needed, read alone", f"{times['read']:,.1f} s", ""),
        ("all columns, read alone", f"{times['read_all']:,.1f} s", ""),
        (mapping, f"{map_rate:,.0f} rows/s", ""),
        ("all stages, in rows/s, over that", f"{rows / seconds / map_rate:.2f}", ""),
        ("verification alone, in rows/s, over that", f"{_rate(found, 'verify') / map_rate:.2f}", ""),
    ]
    stages = [
        (name, f"{taken:,}", f"{passed:,}", f"{spent:,.1f}", f"{taken / max(spent, 1e-3):,.0f}")
        for name, taken, passed, spent in found["stages"]
    ]
    return "\n".join(
        [
            "# data_prep.openthoughts: speed and memory",
            "",
            f"- {date.today()}; {platform.machine()}, {os.cpu_count()} cores, {platform.system()}; load "
            f"average over 1, 5 and 15 minutes at the start: {load}, from making the source and from other "
            "processes.",
            f"- Python {platform.python_version()}; "
            + ", ".join(f"{p} {version(p)}" for p in packages)
            + ".",
            f"- Command: `python -m tests.benchmarks.data_prep {' '.join(sys.argv[1:])}`",
            f"- Source: {rows:,} rows, {source_bytes / MEBIBYTE:,.0f} MiB of zstd parquet; a row has a "
            "problem of 0.6 kB, a solution of 3.4 kB and a reasoning of 30 kB. The tokenizer is Qwen3's.",
            f"- {workers} processes verify.",
            "",
            text_table(("", "measured", "to reach at 114,000 rows"), measured),
            "",
            text_table(("stage", "rows in", "rows out", "seconds", "rows per second"), stages),
            "",
            "Memory is the largest sum of the resident sets of the process and its children, sampled five",
            "times a second; pages that they share count once for each.",
            "",
        ]
    )


def _rate(found: dict[str, Any], stage: str) -> float:
    return next(taken / spent for name, taken, _, spent in found["stages"] if name == stage)


def main() -> None:
    """Make the source, run the parts, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=114_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--table", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    needed = ("problem", "deepseek_solution", "ground_truth_solution", "domain", "source")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone(make_source, folder, options.rows)
        times: dict[str, Any] = {"load": os.getloadavg()}
        times["read"] = alone(read_alone, folder, needed)
        found = alone(prepare, folder, options.workers)
        times["read_all"] = alone(read_alone, folder, None)
        times["map"] = alone(map_verification, folder, options.workers, min(options.rows, MAPPED_ROWS))
        source_bytes = sum(path.stat().st_size for path in (folder / "raw").iterdir())
    text = table(options.rows, options.workers, source_bytes, found, times)
    print(text)
    if options.table:
        options.table.write_text(text)


if __name__ == "__main__":
    main()
