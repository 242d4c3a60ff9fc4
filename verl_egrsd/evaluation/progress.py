"""How long an evaluation will take: short answers are finished first, so the finished ones say too little.

The lengths of answers are estimated from those that are finished and from those that are being generated,
of which only a lower bound is known: the Kaplan-Meier estimator for censored observations (Kaplan and Meier,
1958). Beyond the longest finished answer, an answer ends at the mean rate per token of all answers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} samples [{elapsed}{postfix}]"
LOOK_SECONDS = 2.0
"""Between two looks at the answers that are being generated."""
LOOKS = 30
"""The speed is the mean over this many looks."""
POINTS = 1024
"""Of the grid on which a distribution of lengths is integrated."""


class LengthDistribution:
    """The distribution of answer lengths, in tokens.

    Args:
        finished: lengths of finished answers.
        growing: lengths so far of the answers that are being generated.
        limit: longest length.
    """

    def __init__(self, finished: Sequence[int], growing: Sequence[int], limit: int) -> None:
        ends = np.sort(np.asarray(finished, dtype=float))
        lengths = np.sort(np.concatenate([ends, np.asarray(growing, dtype=float)]))
        self.limit = limit
        self._at, ended = np.unique(ends, return_counts=True)
        at_risk = len(lengths) - np.searchsorted(lengths, self._at)
        self._survival = np.cumprod(1 - ended / at_risk)
        self._hazard = len(ends) / max(lengths.sum(), 1.0)

    def longer_than(self, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of answers that are longer than some numbers of tokens."""
        before = np.searchsorted(self._at, tokens, side="right")
        known = np.concatenate([[1.0], self._survival])[before]
        last = self._at[-1] if len(self._at) else 0.0
        beyond = np.exp(-self._hazard * np.maximum(tokens - last, 0.0))
        return np.where(tokens < self.limit, known * beyond, 0.0)

    def mean(self) -> float:
        """Return the expected length."""
        grid = np.linspace(0, self.limit, POINTS)
        return float(np.trapezoid(self.longer_than(grid), grid))

    def longest_rest(self, growing: Sequence[int]) -> float:
        """Return the expected number of tokens until the last of the answers under way has ended."""
        grid = np.linspace(0, self.limit, POINTS)
        all_ended = np.ones(POINTS)
        # They are looked at every so many tokens, so many are equally long.
        for length, number in zip(*np.unique(growing, return_counts=True), strict=True):
            now = self.longer_than(np.array([float(length)]))
            all_ended *= (1 - self.longer_than(length + grid) / np.maximum(now, 1e-12)) ** number
        return float(np.trapezoid(1 - all_ended, grid))


def seconds_left(
    finished: Sequence[int], growing: Sequence[int], waiting: int, limit: int, *, speed: float, at_once: float
) -> float:
    """Estimate the seconds until the last answer has ended.

    Until no answer waits any more, the engines generate at their present speed. Then the answers under way
    grow to their ends, each at its present speed; the longest one is the last.

    Args:
        finished: lengths of finished answers, tokens.
        growing: lengths so far of the answers that are being generated, at least one.
        waiting: number of answers that have not begun.
        limit: longest length.
        speed: tokens per second of all engines together.
        at_once: answers that were being generated at that speed.
    """
    lengths = LengthDistribution(finished, growing, limit)
    return waiting * lengths.mean() / speed + lengths.longest_rest(growing) * at_once / speed


class Progress:
    """The bar: samples that are there, tokens per second, and the time that is left.

    Args:
        total: samples of the evaluation.
        finished: lengths of the samples that are there already.
        limit: longest length.
        clock: seconds that have passed since some moment.
    """

    def __init__(
        self,
        total: int,
        finished: Sequence[int],
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._limit, self._clock = total, limit, clock
        self._finished = list(finished)
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=LOOKS)
        self._bar = tqdm(desc="samples", total=total, initial=len(finished), bar_format=BAR)

    def add(self, tokens: int) -> None:
        """Count a finished sample."""
        self._finished.append(tokens)
        self._bar.update()

    def look(self, growing: Sequence[int]) -> str:
        """Note how long the unfinished answers are by now; return speed and time left as text."""
        if not growing:  # the engines are starting
            self._looks.clear()
            return ""
        tokens = sum(self._finished) + sum(growing)
        self._looks.append((self._clock(), tokens, len(growing)))
        (then, before, _), (now, _, _) = self._looks[0], self._looks[-1]
        if now <= then or tokens <= before:
            return ""
        speed = (tokens - before) / (now - then)
        at_once = float(np.mean([number for _, _, number in self._looks]))
        waiting = max(self._total - len(self._finished) - len(growing), 0)
        left = seconds_left(self._finished, growing, waiting, self._limit, speed=speed, at_once=at_once)
        return f"{speed:,.0f} tokens/s, about {tqdm.format_interval(left)} left"

    async def follow(self, lengths: Callable[[], Awaitable[Sequence[int]]]) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._bar.set_postfix_str(self.look(await lengths()))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.set_postfix_str("")
        self._bar.close()
