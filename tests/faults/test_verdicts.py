"""2,000 verdicts with 20 poisonous answers, from as many threads as a reward worker has, under load."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import time

import psutil
import pytest

from verl_egrsd.reward import compute_score
from verl_egrsd.reward.acceptance import REFUSED, ScoreChecks
from verl_egrsd.reward.guard import Guard
from verl_egrsd.reward.worker import MEMORY_LIMIT

ROWS, SECONDS = 2_000, 2.0
POISON = (
    "9^{9^{9^{9}}}",  # computes for ever
    "10^{10^{9}} + \\sqrt{10^{10^{9}}}",  # eats memory
    "{" * 900 + "5" + "}" * 900,  # recurses
    "\\sin(10^{10^{10}})",
)
POISON_ROWS = {50 + 97 * i: POISON[i % len(POISON)] for i in range(20)}
HALF_OF_TRUTHS = 2
"""Every second answer is right."""


def burn() -> None:
    """Take a core, as training does."""
    while True:
        math.factorial(2_000)


@pytest.fixture
def load():
    """As many busy processes as cores."""
    context = multiprocessing.get_context("spawn")
    busy = [context.Process(target=burn, daemon=True) for _ in range(psutil.cpu_count() or 1)]
    for process in busy:
        process.start()
    yield
    for process in busy:
        process.kill()
        process.join()


def row(index: int) -> dict:
    """A problem of our own, with its answer right or wrong by turns, or a poisonous one."""
    answer = POISON_ROWS.get(index, f"\\frac{{{index + index % HALF_OF_TRUTHS}}}{{2}}")
    return {
        "data_source": "load",
        "solution_str": f"<think>so</think> \\boxed{{{answer}}}",
        "ground_truth": f"{index / 2}",
        "extra_info": {"problem": f"half of {index}?"},
        "time_limit": SECONDS,
    }


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_nothing_is_lost_among_2000_verdicts_with_20_poisonous_under_load(load, measured):
    before = len(psutil.Process().open_files())
    largest = []

    async def watch() -> None:
        while True:
            workers = psutil.Process().children()
            largest.extend(worker.memory_info().rss for worker in workers if worker.is_running())
            await asyncio.sleep(1)

    async def judged() -> list[dict]:
        watching = asyncio.create_task(watch())
        guard = Guard(compute_score, ScoreChecks(), limited=False)
        found = await asyncio.gather(*(guard(**row(index)) for index in range(ROWS)))
        watching.cancel()
        return found

    began = time.monotonic()
    with measured("2,000 verdicts, 20 of them poisonous", "every verdict is there, and right"):
        found = asyncio.run(judged())
    print(f"{time.monotonic() - began:.0f} s, largest worker {max(largest) / 2**20:.0f} MiB")
    wrong = [
        (index, verdict)
        for index, verdict in enumerate(found)
        if index not in POISON_ROWS and verdict["score"] != (index % HALF_OF_TRUTHS == 0)
    ]
    assert wrong == []
    assert all(verdict[REFUSED] == "" for verdict in found)
    assert all(found[index]["score"] == 0 for index in POISON_ROWS)
    assert sum(found[index]["timeout"] + found[index]["error"] for index in POISON_ROWS) >= 10
    assert max(largest) < MEMORY_LIMIT
    assert len(psutil.Process().open_files()) <= before + 4
