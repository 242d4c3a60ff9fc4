"""Time of the token credit of a step under every method.

    python -m tests.benchmarks.credit > tests/benchmarks/results/credit.md

Run it on an idle machine; it takes two minutes and 2 GB. All methods take turns, and each number is the best
of several rounds. Beside milliseconds, a time is given in copies of one of the batch's columns: a copy moves
8 bytes per token, and no new column can be had for less. `--old FOLDER` measures the credit of an older
checkout of this package (version 0.1) in the same rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from tests.benchmarks.conditions import conditions
from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.columns import TOKEN_COLUMNS
from verl_egrsd.output.tables import text_table

SIZES = ((32, 1_024), (512, 8_192), (512, 20_000))
"""Rows and tokens of a step: the paper's, a larger one, and the largest that a recipe allows."""
GROUP = 8
"""Rollouts per prompt."""


def best_seconds(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return each way's best time over rounds in which all take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def batch(rows: int, tokens: int) -> tuple[Columns, torch.Tensor]:
    """Return every column of rollouts of random lengths, and their advantages."""
    draw = torch.Generator().manual_seed(0)
    mask = torch.arange(tokens) < torch.randint(1, tokens + 1, (rows, 1), generator=draw)
    token_columns: dict[str, Any] = {
        name: torch.rand(rows, tokens, generator=draw) * (-1 if name.endswith("log_prob") else 1)
        for name in TOKEN_COLUMNS
    }
    correct = torch.rand(rows, generator=draw) < 0.5
    problems = torch.arange(rows) // GROUP
    columns = Columns.of(
        mask, rewards=correct.float(), correct=correct, problems=problems, answers=problems, **token_columns
    )
    return columns, torch.randn(rows, 1, generator=draw)


def ways(columns: Columns, advantages: torch.Tensor, old: Callable[..., object] | None) -> dict[str, Any]:
    """Return what is timed, by name."""
    target = torch.empty(columns.response_mask.shape)
    found: dict[str, Any] = {"copy": lambda: target.copy_(columns.column("teacher_entropy"))}
    for name in methods():
        method = resolve(name, max_response_length=columns.response_mask.shape[1])
        found[name] = lambda method=method: method.credit(columns, advantages)
    if old is not None:
        names = ("teacher_log_prob", "student_log_prob", "teacher_entropy")
        scores = (*(columns.column(name) for name in names), columns.response_mask)
        for name, window in (("egrsd of 0.1", 0), ("cl_egrsd of 0.1", 3)):
            found[name] = lambda window=window: old(advantages, *scores, gamma=0.3, window=window)
    return found


def measure(
    rows: int, tokens: int, rounds: int, old: Callable[..., object] | None = None
) -> dict[str, float]:
    """Return seconds by what is timed: `copy`, and every method."""
    return best_seconds(ways(*batch(rows, tokens), old), rounds)


def old_credit(folder: str | None) -> Callable[..., object] | None:
    """Return `token_credit` of an older checkout, whose modules take the place of these from here on."""
    if folder is None:
        return None
    for name in [name for name in sys.modules if name.startswith("verl_egrsd")]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    from verl_egrsd.credit import token_credit  # type: ignore[attr-defined]

    return token_credit


def main() -> None:
    """Measure and print the page."""
    load = os.getloadavg()[0]
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--old", help="checkout of version 0.1 to measure beside")
    options = parser.parse_args()
    old = old_credit(options.old)
    columns = []
    for rows, tokens in SIZES:
        seconds = measure(rows, tokens, options.rounds, old)
        copy = seconds.pop("copy")
        cells = {name: f"{value * 1e3:.1f} ({value / copy:.0f})" for name, value in seconds.items()}
        columns.append((f"{rows} x {tokens:,}", cells))
    head = ["method", *(title for title, _ in columns)]
    table = [[name, *(cells[name] for _, cells in columns)] for name in columns[0][1]]
    print("# Token credit of a step\n")
    print("Milliseconds for the credit and all weights of a step's rollouts of random lengths, and in")
    print("parentheses the same in copies of one column. Rollouts x tokens of the longest one.\n")
    print(text_table(head, table))
    print(f"\n{conditions(load)}")
    print(f"- best of {options.rounds} rounds; `python -m tests.benchmarks.credit`")


if __name__ == "__main__":
    main()
