"""Seconds of what the run report adds: the wording of a step's responses, and writing the report.

    python -m tests.benchmarks.run_report > tests/benchmarks/results/run_report.md

Processor seconds of one process, so that a busy machine does not count.
"""

from __future__ import annotations

import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from recipes.rehearsal.task import ROLES, generate_problem, student_response
from recipes.rehearsal.tokenizer import build_small_tokenizer
from tests.benchmarks.verifier import processor
from verl_egrsd.output.tables import text_table
from verl_egrsd.report.curves import VALIDATION, panels
from verl_egrsd.report.ending import ending
from verl_egrsd.report.run import RunReport
from verl_egrsd.report.settings import ReportConfig
from verl_egrsd.rollouts.wording import hesitation_rate, repeated_share

ROWS, TOKENS, ROUNDS = 512, 8192, 5
STEPS = (100, 1000, 2000)


def seconds(work: Callable[[], object]) -> float:
    """Best processor seconds of some rounds after a first one."""
    measured = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        work()
        measured.append(time.process_time() - start)
    return min(measured[1:])


def responses(folder: Path) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Tokenizer, ids and mask of responses of 4,096 to 8,192 tokens, each a chain of verbose sums."""
    tokenizer, rng = build_small_tokenizer(folder), random.Random(0)
    roles = ROLES["rehearsal"]
    chain = [student_response(generate_problem(rng), roles, rng) for _ in range(2 * TOKENS // 40)]
    stream = torch.tensor(tokenizer(" ".join(chain), add_special_tokens=False)["input_ids"])
    starts = [rng.randrange(len(stream) - TOKENS) for _ in range(ROWS)]
    ids = torch.stack([stream[start : start + TOKENS] for start in starts])
    lengths = torch.tensor([rng.randint(TOKENS // 2, TOKENS) for _ in range(ROWS)])
    mask = torch.arange(TOKENS) < lengths.unsqueeze(1)
    return tokenizer, ids, mask


def report(folder: Path, steps: int) -> RunReport:
    """A report with every metric that the page draws."""
    known = {"total_steps": steps + 1, "name": "x", "date": "", "versions": {}, "data": {}, "settings": {}}
    report = RunReport(ReportConfig(str(folder)), known, 0)
    names = [name for _, panel in panels() for name in panel if name != VALIDATION]
    for step in range(1, steps + 1):
        metrics = {name: random.random() for name in names}
        report.history.record(step, metrics | {"training/global_step": step})
    return report


def main() -> None:
    """Measure and print the page."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, ids, mask = responses(Path(folder))
        rows = [row[real] for row, real in zip(ids, mask, strict=True)]
        texts = tokenizer.batch_decode(rows)
        print("# What the run report costs: processor seconds\n")
        shape = f"{ROWS} responses of {TOKENS // 2:,} to {TOKENS:,} tokens"
        work = {
            f"repetition, {shape}": seconds(lambda: repeated_share(ids, mask)),
            "decoding them": seconds(lambda: tokenizer.batch_decode(rows)),
            "hesitation words in their texts": seconds(lambda: hesitation_rate(texts)),
        }
        for steps in STEPS:
            written = report(Path(folder) / str(steps), steps)
            work[f"drawing the picture of the curves after {steps:,} steps"] = seconds(written.draw)
            rest = partial(written.write, ending("running"))
            work[f"writing page and JSON after {steps:,} steps"] = seconds(rest)
        print(text_table(("work", "seconds"), [(name, f"{found:.2f}") for name, found in work.items()]))
    size = sum(map(len, texts)) / 1e6
    print(f"\n- {os.cpu_count()} cores, {processor()}; the texts have {size:.0f} million characters")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "matplotlib", "Jinja2"))
    print(f"- Python {platform.python_version()}, {packages}")
    print("- the curves of every method at once; a run has those of its own: fewer")
    print(f"- {date.today()}; best of {ROUNDS} rounds after a first one")
    print("- `python -m tests.benchmarks.run_report > tests/benchmarks/results/run_report.md`")


if __name__ == "__main__":
    main()
