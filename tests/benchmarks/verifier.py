"""Verdicts per second on MATH-500, for one and two worker processes, against plain math-verify.

    python -m tests.benchmarks.verifier > tests/benchmarks/results/verifier.md

Run it from the checkout on an idle machine. Each row is the best of several rounds, after one round that
warms up the parser's tables. "right": published solutions against their own answers; "wrong": against the
answer of another problem, so that nearly all are wrong and both sides have to be parsed. That problem is far
away, because math-verify remembers the last texts that it parsed.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

from verl_egrsd.machine import processor
from verl_egrsd.reward import VerdictPool, final_answer

DATA = Path(__file__).parents[3] / "shared" / "data" / "math500.jsonl"
ROUNDS = 5
FAR = 250

Pair = tuple[str, str]


def pairs() -> dict[str, list[Pair]]:
    """Return (solution, answer) of each problem, and the same with answers of other problems."""
    rows = [json.loads(line) for line in DATA.read_text().splitlines()]
    solutions, answers = ([row[name] for row in rows] for name in ("solution", "answer"))
    return {
        "right": list(zip(solutions, answers, strict=True)),
        "wrong": list(zip(solutions, answers[FAR:] + answers[:FAR], strict=True)),
    }


def plain_math_verify(items: list[Pair]) -> None:
    """Judge in this process, without time limit, processes or rules of our own."""
    from math_verify import parse, verify

    for solution, truth in items:
        gold, answer = (
            parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (truth, final_answer(solution))
        )
        verify(gold, answer, timeout_seconds=None)


def through(pool: VerdictPool) -> Callable[[list[Pair]], object]:
    """Return what has a pool judge a list."""
    return lambda items: list(pool.verify(items))


def rate(judge: Callable[[list[Pair]], object], items: list[Pair]) -> float:
    """Return verdicts per second of the best round."""
    judge(items)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        judge(items)
        seconds.append(time.perf_counter() - start)
    return len(items) / min(seconds)


def latency(pool: VerdictPool, item: Pair) -> float:
    """Return the median seconds that an idle pool takes for one simple answer."""
    seconds = []
    for _ in range(200):
        start = time.perf_counter()
        pool.verify_one(*item)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def main() -> None:
    """Measure and print the page."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    rates: dict[str, dict[str, float]] = {}
    for kind, items in pairs().items():
        rates[kind] = {"plain math-verify, in this process": rate(plain_math_verify, items)}
        for processes in (1, 2):
            with VerdictPool(processes) as pool:
                start = time.perf_counter()
                pool.verify_one("\\boxed{1}", "2")
                first = time.perf_counter() - start
                rates[kind][f"VerdictPool({processes})"] = rate(
                    lambda stream: list(pool.verify(stream)), items
                )
                single = latency(pool, ("\\boxed{12}", "13"))
    print("# Verdicts per second on MATH-500\n")
    print("| judge | right answers | wrong answers |\n|---|---|---|")
    for judge in rates["right"]:
        print(f"| {judge} | {rates['right'][judge]:.0f} | {rates['wrong'][judge]:.0f} |")
    ratios = [row["VerdictPool(2)"] / row["VerdictPool(1)"] for row in rates.values()]
    print(f"| two processes to one | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    print(f"\nOne simple answer in an idle pool: {1000 * single:.1f} ms (median of 200). ", end="")
    print(f"The first one, with the start of a worker: {first:.1f} s.")
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("math-verify", "latex2sympy2-extended", "sympy")
    )
    print(f"\n- {os.cpu_count()} cores, {processor()}; load average at the end {os.getloadavg()[0]:.1f}")
    print(f"- Python {platform.python_version()}, {packages}")
    print(f"- {date.today()}; best of {ROUNDS} rounds of 500 after a warm-up; both paths judge every answer")
    print("- `python -m tests.benchmarks.verifier > tests/benchmarks/results/verifier.md`")


if __name__ == "__main__":
    main()
