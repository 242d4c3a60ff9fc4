"""Time of the token credit of a batch, in copies of one of its columns.

    python -m tests.benchmarks.credit > tests/benchmarks/results/credit.md

Run it on an idle machine; it takes a minute and 0.5 GB. All ways take turns, and each row is the best of
several rounds. A copy moves 8 bytes per token; no new column can be had for less, so it is the floor.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping

import torch

from tests.benchmarks.conditions import conditions
from verl_egrsd.credit import entropy_gate, lookahead_min, token_credit

WINDOWS = (0, 1, 5, 16, 64)


def best_seconds(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return each way's best time over rounds in which all take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def measure(rows: int, tokens: int, rounds: int) -> dict[str, float]:
    """Return seconds by way, for a batch of rollouts of random lengths."""
    draw = torch.Generator().manual_seed(0)
    entropy, teacher, student = (torch.rand(rows, tokens, generator=draw) for _ in range(3))
    mask = torch.arange(tokens) < torch.randint(1, tokens + 1, (rows, 1), generator=draw)
    advantages, target = torch.randn(rows, 1, generator=draw), torch.empty_like(entropy)
    scores = (advantages, -teacher, -student, entropy, mask)
    ways: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(entropy)}
    for window in WINDOWS:
        ways |= {
            f"lookahead {window}": lambda w=window: lookahead_min(entropy, mask, w),
            f"gate {window}": lambda w=window: entropy_gate(entropy, mask, gamma=0.3, window=w),
            f"credit {window}": lambda w=window: token_credit(*scores, gamma=0.3, window=w),
        }
    return best_seconds(ways, rounds)


def main() -> None:
    """Measure and print the page."""
    load = os.getloadavg()[0]
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=8_192)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    seconds = measure(options.rows, options.tokens, options.rounds)
    copy = seconds["copy"]
    print(f"# Token credit of {options.rows:,} rollouts of up to {options.tokens:,} tokens\n")
    print("In copies of one float32 column, per column that is returned: one by the lookahead and the gate,")
    print("three (credit, ratio, gate) by the credit.\n")
    print("| window | lookahead | gate | credit | all three columns of the credit, ms |")
    print("|---:|---:|---:|---:|---:|")
    for window in WINDOWS:
        lookahead, gate, credit = (seconds[f"{name} {window}"] for name in ("lookahead", "gate", "credit"))
        ratios = f"{lookahead / copy:.1f} | {gate / copy:.1f} | {credit / copy / 3:.1f}"
        print(f"| {window} | {ratios} | {credit * 1e3:.0f} |")
    print(f"\nOne copy takes {copy * 1e3:.1f} ms.\n")
    print(conditions(load))
    print(f"- best of {options.rounds} rounds; `python -m tests.benchmarks.credit`")


if __name__ == "__main__":
    main()
