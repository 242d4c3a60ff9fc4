"""Verdicts per second on MATH-500, against plain math-verify and against the verifier of an older checkout.

    python -m tests.benchmarks.verifier --before CHECKOUT > tests/benchmarks/results/verifier.md

Run it from the checkout, best on an idle machine. Each figure is the best of several rounds, each with new
workers; the judges take turns, so that a busy hour meets all of them. "right":
published solutions against their own answers; "wrong": against the answer of another problem, so that nearly
all are wrong and both sides have to be parsed. That problem is far away, because math-verify remembers the
last texts that it parsed. Processor time is that of the worker alone, and depends less on what else runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

from recipes.machine import processor
from verl_egrsd.output.tables import text_table
from verl_egrsd.reward import final_answer

HERE = Path(__file__).parents[2]
DATA = HERE / "tests" / "data" / "math500.jsonl"
"""Its 121 rows; the page of results is of all 500."""
SERVER = """
import json, sys, time
import psutil
from verl_egrsd.reward import VerdictPool

def used():
    return sum(sum(worker.cpu_times()[:2]) for worker in psutil.Process().children())

for line in sys.stdin:
    items = json.loads(line)
    with VerdictPool(int(sys.argv[1]), time_limit=30) as pool:
        pool.verify_one("\\\\boxed{1}", "2")
        before, start = used(), time.perf_counter()
        list(pool.verify(map(tuple, items)))
        print(time.perf_counter() - start, used() - before, flush=True)
"""
"""Judges each list with new workers, which remember nothing, and says how many seconds, and seconds of the
processor, it took."""

Pair = tuple[str, str]


@dataclass
class Rounds:
    """Seconds of each round, and seconds of the worker's processor."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


class Judge:
    """The verifier of a checkout, in a process of its own; a context manager."""

    def __init__(self, checkout: Path, processes: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(processes)],
            env=os.environ | {"PYTHONPATH": str(checkout)},
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def __call__(self, items: list[Pair]) -> tuple[float, float]:
        """Judge a list and return seconds and processor seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(items), file=self.process.stdin, flush=True)
        seconds, used = map(float, self.process.stdout.readline().split())
        return seconds, used


def plain_math_verify(items: list[Pair]) -> tuple[float, float]:
    """Judge in this process, without time limit, processes or rules of our own."""
    from math_verify import parse, verify

    start, used = time.perf_counter(), time.process_time()
    for solution, truth in items:
        gold, answer = (
            parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (truth, final_answer(solution))
        )
        verify(gold, answer, timeout_seconds=None)
    return time.perf_counter() - start, time.process_time() - used


def pairs(data: Path, every: int) -> dict[str, list[Pair]]:
    """Return (solution, answer) of every n-th problem, and the same with answers of other problems."""
    rows = [json.loads(line) for line in data.read_text().splitlines()][::every]
    far = len(rows) // 2
    solutions, answers = ([row[name] for row in rows] for name in ("solution", "answer"))
    return {
        "right": list(zip(solutions, answers, strict=True)),
        "wrong": list(zip(solutions, answers[far:] + answers[:far], strict=True)),
    }


def measure(
    judges: Mapping[str, Callable[[list[Pair]], tuple[float, float]]], items: list[Pair], rounds: int
) -> dict[str, Rounds]:
    """Let the judges take turns."""
    found = {name: Rounds() for name in judges}
    for _ in range(rounds):
        for name, judge in judges.items():
            seconds, used = judge(items)
            found[name].seconds.append(seconds)
            found[name].processor.append(used)
    return found


def main() -> None:
    """Measure and print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="checkout of an older commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=DATA, help="rows of MATH-500, JSON lines")
    parser.add_argument("--every", type=int, default=1, help="take every n-th problem")
    options = parser.parse_args()
    items = pairs(options.data, options.every)
    problems = len(items["right"])
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    with ExitStack() as running:
        checkouts = {"VerdictPool(1)": (HERE, 1), "VerdictPool(2)": (HERE, 2)}
        if options.before:
            checkouts["VerdictPool(1), before"] = (options.before, 1)
        judges = {
            name: running.enter_context(Judge(checkout, processes))
            for name, (checkout, processes) in checkouts.items()
        } | {"plain math-verify, in this process": plain_math_verify}
        found = {kind: measure(judges, asked, options.rounds) for kind, asked in items.items()}
    print("# Verdicts per second on MATH-500\n")
    rows = []
    for name in judges:
        rates = [problems / min(found[kind][name].seconds) for kind in found]
        times = [1000 * min(found[kind][name].processor) / problems for kind in found]
        rows.append((name, *(f"{rate:.0f}" for rate in rates), *(f"{spent:.1f}" for spent in times)))
    head = ("judge", "right answers", "wrong answers", "processor ms, right", "processor ms, wrong")
    print(text_table(head, rows))
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("math-verify", "latex2sympy2-extended", "sympy")
    )
    load = os.getloadavg()[0]
    print(f"\n- {os.cpu_count()} cores, {processor()}; load average at the end {load:.1f}")
    print(f"- Python {platform.python_version()}, {packages}")
    print(f"- {date.today()}; best of {options.rounds} rounds of {problems}; both paths judge every answer")
    command = "python -m tests.benchmarks.verifier --before CHECKOUT"
    print(f"- `{command} > tests/benchmarks/results/verifier.md`")


if __name__ == "__main__":
    main()
