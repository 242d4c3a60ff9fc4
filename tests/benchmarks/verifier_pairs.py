"""Verdicts on pairs of answer and ground truth: this verifier, that of an older checkout, and other graders.

    python -m tests.benchmarks.verifier_pairs --before CHECKOUT > tests/benchmarks/results/verifier_pairs.md

`tests/reward/pairs.jsonl` holds public pairs that an earlier verifier of ours judged wrongly, so its row
there says nothing about its share of errors. `tests/reward/kind_cases.py` holds pairs of the same kinds.
Run it from the checkout. `--before` names a checkout of an older commit (`git worktree add`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tests.reward.kind_cases import DIFFERENT, EQUAL, WITH_PROBLEM
from verl_egrsd.output.tables import text_table

PAIRS = Path(__file__).parents[1] / "reward" / "pairs.jsonl"
TIME_LIMIT = 20.0
JUDGE_OURS = """
import json, sys
from verl_egrsd.reward import VerdictPool
with VerdictPool(1, time_limit=%s) as pool:
    json.dump([verdict.correct for verdict in pool.verify(map(tuple, json.load(sys.stdin)))], sys.stdout)
"""


class Pair(NamedTuple):
    """One pair and what a person says of it."""

    response: str
    ground_truth: str
    problem: str | None
    equal: bool


Grader = Callable[[Sequence[Pair]], list[bool | None]]
"""Says of each pair whether it accepts the answer; None where it raised."""
COLUMNS = ("grader", "right", "equal, refused", "not equal, accepted", "raised")


def published_pairs() -> list[Pair]:
    """Return the public pairs."""
    rows = map(json.loads, PAIRS.read_text().splitlines())
    return [Pair(row["response"], row["gold"], None, row["expected"]) for row in rows]


def own_pairs() -> list[Pair]:
    """Return the pairs by kind, in a box each."""
    cases = [
        (answer, truth, None, equal)
        for table, equal in ((EQUAL, True), (DIFFERENT, False))
        for pairs in table.values()
        for answer, truth in pairs
    ]
    with_problem = [(answer, truth, problem, equal) for problem, answer, truth, equal in WITH_PROBLEM]
    return [
        Pair(f"So the final answer is $\\boxed{{{answer}}}$.", *rest)
        for answer, *rest in cases + with_problem
    ]


def ours(checkout: Path, *, with_problem: bool) -> Grader:
    """Return the verifier of a checkout, in a process of its own."""

    def judge(pairs: Sequence[Pair]) -> list[bool | None]:
        items = [pair[: 3 if with_problem else 2] for pair in pairs]
        found = subprocess.run(
            [sys.executable, "-c", JUDGE_OURS % TIME_LIMIT],
            input=json.dumps(items),
            env=os.environ | {"PYTHONPATH": str(checkout)},
            cwd=checkout,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(found.stdout)

    return judge


def plain_math_verify(pairs: Sequence[Pair]) -> list[bool | None]:
    """Judge as math-verify's README says, with its own extraction from the whole response."""
    from math_verify import parse, verify

    return [verify(parse(f"\\boxed{{{pair.ground_truth}}}"), parse(pair.response)) for pair in pairs]


def of_verl(module: str) -> Grader:
    """Return a grader of `verl.utils.reward_score`."""
    score = import_module(f"verl.utils.reward_score.{module}").compute_score

    def judge(pairs: Sequence[Pair]) -> list[bool | None]:
        return [_accepted(score, pair) for pair in pairs]

    return judge


def _accepted(score: Callable[[str, str], Any], pair: Pair) -> bool | None:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            result = score(pair.response, pair.ground_truth)
        except Exception:  # graders raise whatever they like; the table counts it
            return None
    if isinstance(result, dict):
        return bool(result["acc"])
    return bool(result[0] if isinstance(result, tuple) else result)


def graders(before: Path | None) -> dict[str, Grader]:
    """Return each grader by the name in the table."""
    here = Path(__file__).parents[2]
    return {
        "this verifier": ours(here, with_problem=True),
        **({"ours before the rules by kind": ours(before, with_problem=False)} if before else {}),
        "math-verify": plain_math_verify,
        "verl `math_verify`": of_verl("math_verify"),
        "verl `math_reward`": of_verl("math_reward"),
        "verl `math_dapo`": of_verl("math_dapo"),
        "verl `prime_math`": of_verl("prime_math"),
        "verl `gsm8k` (flexible)": gsm8k_flexible,
    }


def gsm8k_flexible(pairs: Sequence[Pair]) -> list[bool | None]:
    """Judge with verl's grader for GSM8K, which takes the last number of the response."""
    from verl.utils.reward_score import gsm8k

    return [bool(gsm8k.compute_score(pair.response, pair.ground_truth, method="flexible")) for pair in pairs]


def confusion(verdicts: Sequence[bool | None], pairs: Sequence[Pair]) -> tuple[int, int, int, int]:
    """Return how many are right, equal but refused, not equal but accepted, and how many raised."""
    counts = Counter(
        "raised" if verdict is None else (pair.equal, verdict)
        for pair, verdict in zip(pairs, verdicts, strict=True)
    )
    right = counts[True, True] + counts[False, False]
    return right, counts[True, False], counts[False, True], counts["raised"]


def main() -> None:
    """Ask each grader and print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="checkout of an older commit")
    before = parser.parse_args().before
    logging.disable(logging.ERROR)
    groups = {"public pairs": published_pairs(), "our pairs": own_pairs()}
    print("# Verdicts on pairs\n")
    for name, pairs in groups.items():
        equal = sum(pair.equal for pair in pairs)
        print(f"{len(pairs)} {name}: {equal} equal, {len(pairs) - equal} not equal.\n")
        found = {title: confusion(judge(pairs), pairs) for title, judge in graders(before).items()}
        rows = [(title, *map(str, counts)) for title, counts in found.items()]
        print(text_table(COLUMNS, rows) + "\n")
    packages = ", ".join(f"{name} {version(name)}" for name in ("math-verify", "sympy", "verl"))
    print("The public pairs were chosen because ours judged them wrongly before: its row there says nothing.")
    print("verl's graders see the whole response. The one for GSM8K expects numbers, `math_dapo` a line")
    print("`Answer:`. A pair on which a grader raised an exception counts in no other column.\n")
    print(f"- Python {platform.python_version()}, {packages}; {date.today()}")
    command = "python -m tests.benchmarks.verifier_pairs --before CHECKOUT"
    print(f"- `{command} > tests/benchmarks/results/verifier_pairs.md`")


if __name__ == "__main__":
    main()
