"""How an evaluation scales with its replicas: SIMULATED, from measured lengths of answers.

Measured are only the lengths: those of the reference solutions in tests/data (MATH-500 and Minerva), whose
longest hundredth is three times as long as the mean. They are scaled to the mean of the paper's protocol and
cut at its limit. An engine is a model of one: it generates up to `batch` answers at once, and a step takes
`base` seconds and a little more for each of them. So the table shows how evenly replicas share the work and
what the longest answers cost, not how fast a GPU is.

    python -m tests.benchmarks.replicas            # writes results/replicas.md
"""

from __future__ import annotations

import heapq
import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from verl_egrsd.evaluation.replicas import at_once

HERE = Path(__file__).parent
SOLUTIONS = [HERE.parent / "data" / name for name in ("math500.jsonl", "minerva_math.jsonl")]
SAMPLES, MEAN, LIMIT = 9_204, 11_000, 32_768
"""Of the paper's protocol: samples, tokens of an answer on average, tokens of the longest answer."""


def measured_lengths(samples: int, mean: int = MEAN, limit: int = LIMIT, seed: int = 0) -> list[int]:
    """Draw lengths from the measured ones, scaled so that their mean is `mean` after the cut at `limit`."""
    lines = [line for file in SOLUTIONS for line in file.read_text(encoding="utf-8").splitlines()]
    measured = np.array([len(json.loads(line)["solution"]) for line in lines], dtype=float)
    low, high = 0.0, 1e3 * limit
    for _ in range(60):  # bisection: the mean after the cut grows with the scale
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(measured * scale, limit).mean() < mean else (low, scale)
    drawn = np.random.default_rng(seed).choice(measured, samples)
    return [max(1, int(length)) for length in np.minimum(drawn * high, limit)]


@dataclass(frozen=True)
class Moment:
    """A fleet at a moment: seconds since the start, lengths of answers, and tokens per second."""

    seconds: float
    finished: list[int]
    growing: list[int]
    waiting: int
    speed: float


@dataclass
class _Engine:
    """An engine whose running answers all grow by a token per step; `steps` counts them."""

    steps: float = 0.0
    running: list[tuple[float, int]] = field(default_factory=list)
    waiting: deque[int] = field(default_factory=deque)

    def in_flight(self) -> int:
        return len(self.running) + len(self.waiting)


@dataclass(frozen=True)
class Fleet:
    """Replicas that share answers as :mod:`verl_egrsd.evaluation.replicas` has them do.

    Attributes:
        replicas: number of engines.
        batch: answers that an engine generates at once.
        base: seconds of a step.
        each: seconds that an answer adds to a step.
        apart: whether each replica gets its share at the start, and nothing later.
    """

    replicas: int
    batch: int = 64
    base: float = 0.010
    each: float = 0.0001
    apart: bool = False

    def run(self, lengths: Sequence[int], until: float = math.inf) -> Moment:
        """Generate answers of these lengths, in this order, until all are finished or a time has come."""
        prompts = math.ceil(len(lengths) / self.replicas)
        prompts = prompts if self.apart else at_once(len(lengths), self.replicas)
        engines = [_Engine() for _ in range(self.replicas)]
        pool, now = deque(lengths), 0.0
        finished: list[int] = []
        while True:
            self._hand_out(engines, pool, prompts)
            busy = [engine for engine in engines if engine.running]
            if not busy:
                return Moment(now, finished, [], 0, 0.0)
            wait = min(self._seconds_to_next(engine) for engine in busy)
            wait = min(wait, until - now)
            for engine in busy:
                engine.steps += wait / self._step(engine)
            now += wait
            if now >= until:
                growing = [int(n - (end - engine.steps)) for engine in busy for end, n in engine.running]
                waiting = len(pool) + sum(len(engine.waiting) for engine in engines)
                speed = sum(len(engine.running) / self._step(engine) for engine in busy)
                return Moment(now, finished, growing, waiting, speed)
            for engine in busy:
                while engine.running and engine.running[0][0] <= engine.steps + 1e-6:
                    finished.append(heapq.heappop(engine.running)[1])

    def _hand_out(self, engines: Sequence[_Engine], pool: deque[int], prompts: int) -> None:
        while pool and (free := min(engines, key=_Engine.in_flight)).in_flight() < prompts:
            free.waiting.append(pool.popleft())
        for engine in engines:
            while engine.waiting and len(engine.running) < self.batch:
                length = engine.waiting.popleft()
                heapq.heappush(engine.running, (engine.steps + length, length))

    def _step(self, engine: _Engine) -> float:
        return self.base + self.each * len(engine.running)

    def _seconds_to_next(self, engine: _Engine) -> float:
        return (engine.running[0][0] - engine.steps) * self._step(engine)


def table(lengths: Sequence[int]) -> str:
    """Return the table of the results."""
    alone = Fleet(1).run(lengths).seconds
    rows = []
    for replicas in (1, 2, 8, 16, 64):
        shared = Fleet(replicas).run(lengths).seconds
        apart = Fleet(replicas, apart=True).run(lengths).seconds
        rows.append(
            f"| {replicas} | {shared / 60:,.0f} | {alone / shared:.1f} | {alone / shared / replicas:.0%} "
            f"| {apart / 60:,.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Write results/replicas.md."""
    lengths = measured_lengths(SAMPLES)
    shares = np.percentile(lengths, [50, 90])
    cut = np.mean(np.array(lengths) == LIMIT)
    fleet = Fleet(1)
    longest = max(lengths) * (fleet.base + fleet.each)
    text = f"""# Replicas of an evaluation: simulated

Written by `python -m tests.benchmarks.replicas`. **Simulated, not measured**: {SAMPLES:,} samples, as many
as the paper's protocol has. Measured are only the lengths, those of reference solutions of MATH-500 and
Minerva (tests/data). They are scaled to a mean of {np.mean(lengths):,.0f} tokens and cut at {LIMIT:,}
(median {shares[0]:,.0f}, 90 % {shares[1]:,.0f}, at the limit {cut:.1%}). An engine generates {fleet.batch}
answers at once, and a step takes {1000 * fleet.base:g} ms and {1000 * fleet.each:g} ms for each of them;
starts are not counted.

| replicas | minutes | times as fast as one | of the ideal | minutes if each had its share from the start |
|---:|---:|---:|---:|---:|
{table(lengths)}

No number of replicas is faster than the longest answer alone: {longest / 60:.1f} minutes in this model.
"""
    (HERE / "results" / "replicas.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
