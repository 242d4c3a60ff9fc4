"""The whole miniature: build the model, train every arm, evaluate every run, write the page.

    python -m recipes.miniature.run [--quick] [--arms NAME ...] [--seeds N ...] [--out DIR]

The trainings are made in parts. After each part its runs are evaluated and the page is written, with what has
been measured by then. Finished runs are kept, so the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recipes.miniature.arms import find_arms
from recipes.miniature.measurement import FULL, QUICK, Measurement
from recipes.miniature.record import write_page
from verl_egrsd.output.lock import only_writer
from verl_egrsd.processes import ended_by_signals

INTERRUPTED = "interrupted; finished runs are kept, and the same command goes on from there."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 when the page is written, 1 when something failed, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m recipes.miniature.run")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: proves nothing")
    parser.add_argument("--arms", nargs="+", default=[], metavar="NAME", help="or all (those of the page)")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="(those of the plan)")
    parser.add_argument("--out", type=Path, help="(outputs/mini_frontier or, quick, .._quick)")
    given = parser.parse_args(arguments)
    plan = QUICK if given.quick else FULL
    if given.seeds:
        plan = replace(plan, seeds=tuple(given.seeds))
    out = given.out or Path("outputs/mini_frontier_quick" if given.quick else "outputs/mini_frontier")
    try:
        with (
            ended_by_signals("mini_frontier", INTERRUPTED),
            only_writer(out, "choose another folder (OUT)"),
        ):
            measurement = Measurement(out, plan, find_arms(given.arms))
            measurement.begin()
            for part in measurement.parts():
                measurement.train(part)
                measurement.evaluate(part)
                table = write_page(measurement)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"mini_frontier: {error}", file=sys.stderr)
        return 1
    print(table)
    print(f"page: {out / 'index.md'}, picture: {out / 'frontier.png'}, numbers: {out / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
