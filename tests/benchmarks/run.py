"""All benchmarks of the teacher's cost, one after another.

python -m tests.benchmarks.run            # writes the tables under results/; on an idle machine
python -m tests.benchmarks.run --quick    # small sizes, ratios only, nothing is written; some minutes
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import torch

from tests.benchmarks import cost, credit, scorer

TABLES = ("scorer", "credit")
"""Benchmarks that print their page; `cost` writes its own."""


def quick() -> None:
    """Print what each benchmark's small sizes give, as ratios."""
    for dtype in (torch.float32, torch.bfloat16):
        best = scorer.best_of(scorer.make_inputs(512, 512, 50_000, dtype), rounds=3)
        ours, theirs = best["`score_tokens`"][0], best["verl `FusedLinearForPPO`"][0]
        product = scorer.product_seconds(best)
        print(f"scores, {str(dtype)[6:]}: {ours / product:.2f} x the matrix product", flush=True)
        print(f"scores, {str(dtype)[6:]}: {theirs / ours:.2f} x faster than verl's torch head", flush=True)
    seconds = credit.measure(rows=128, tokens=4_096, rounds=5)
    copy = seconds.pop("copy")
    for method, value in seconds.items():
        print(f"credit of {method}: {value / copy:.0f} copies of a column", flush=True)
    cases = [case for case in cost.CASES if case.response <= 1_024 and case.solution <= 1_024]
    measured = cost.measure_all(cases)
    rates = cost.fit(cases, measured)
    worst = max(
        abs(cost.predict(case, rates) / found - 1) for case, found in zip(cases, measured, strict=True)
    )
    print(f"cost formula: off by {100 * worst:.0f} % at most over {len(cases)} cases")


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run")
    parser.add_argument("--quick", action="store_true", help="small sizes, ratios only")
    if parser.parse_args().quick:
        quick()
        return
    for name in TABLES:
        page = subprocess.check_output([sys.executable, "-m", f"tests.benchmarks.{name}"], text=True)
        (cost.RESULTS / f"{name}.md").write_text(page)
        print(page, flush=True)
    cost.main()


if __name__ == "__main__":
    main()
