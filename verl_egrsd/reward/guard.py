"""Calls a user's reward function row by row: no row takes for ever, and none gets a score that is not one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from inspect import iscoroutinefunction
from pathlib import Path
from threading import Thread
from typing import Any

from verl_egrsd.reward.acceptance import REFUSED, ScoreChecks
from verl_egrsd.reward.sentinel import Sentinel

THREADS = min(32, (os.cpu_count() or 1) + 4)
"""Calls of a plain function at a time, as many as in verl."""


class Guard:
    """An asynchronous reward function around the user's.

    A call that takes too long is given up: its row is refused, and its thread is left behind, since Python
    cannot end it. Where the function holds the interpreter (one long regular expression, for instance), no
    code of this process runs; then :class:`Sentinel` ends the process, after it has named the row.

    Args:
        function: the user's; a coroutine function is awaited, any other one runs in a thread of its own.
        checks: what a score must be.
        limited: whether `checks.time_limit` holds; this package's verifier has limits of its own.
        last_words: file in which the sentinel says why it ended this process.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        checks: ScoreChecks,
        *,
        limited: bool = True,
        last_words: Path | None = None,
    ) -> None:
        self.function, self.checks, self.limited = function, checks, limited
        self._waits = iscoroutinefunction(function)
        self._free = asyncio.Semaphore(2**31 if self._waits else THREADS)
        self._sentinel = Sentinel(checks.time_limit, last_words=last_words) if limited else None
        self._given_up = 0

    async def __call__(self, **row: Any) -> dict[str, Any]:
        """Return the row's score and what else the function gave.

        Args:
            row: verl's arguments of a reward function.

        Returns:
            `score`, and `refused`: why there is no usable score, "" where there is one.
        """
        async with self._free:
            if self._sentinel is None:
                return await self._judged(row)
            self._require_threads()
            try:
                return await asyncio.wait_for(self._watched(row, self._sentinel), self.checks.time_limit)
            except TimeoutError:
                self._given_up += 1
                return _refused(f"it took longer than scores.time_limit={self.checks.time_limit:g} s")

    def _require_threads(self) -> None:
        if not self._waits and self._given_up >= THREADS:
            raise RuntimeError(
                f"{self._given_up} calls of the reward function took longer than scores.time_limit="
                f"{self.checks.time_limit:g} s in this process, and may still run: rows refused from here on "
                "would be good ones. Mend the function, or raise the limit."
            )

    async def _watched(self, row: Mapping[str, Any], sentinel: Sentinel) -> dict[str, Any]:
        # In the task of the call: it is told when the call begins, and not when it waits for its turn.
        with sentinel.watching(scored_row(row)):
            return await self._judged(row)

    async def _judged(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if not self._waits:
            return await _in_thread(lambda: self._call(row))
        try:
            return self._checked(await self.function(**row))
        except (Exception, SystemExit) as error:  # the user's code may raise anything; the verdict says what
            return _raised(error)

    def _call(self, row: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._checked(self.function(**row))
        except BaseException as error:  # as above; nothing else of this process runs in its thread
            return _raised(error)

    def _checked(self, result: Any) -> dict[str, Any]:
        """Return a result as a dictionary, as verl makes it of a plain number."""
        found = dict(result) if isinstance(result, Mapping) else {"score": result, "acc": result}
        if "score" not in found:
            return _refused(f"it gave a dictionary without the key score: {found!r:.500}")
        try:
            score = self.checks.accepted(found["score"])
        except ValueError as error:
            return _refused(str(error))
        return found | {"score": score, REFUSED: ""}


def scored_row(row: Mapping[str, Any]) -> str:
    """Return how a message names a row: its problem, or else its ground truth, and how the response ends."""
    extra = row.get("extra_info")
    problem = extra.get("problem") or extra.get("question") if isinstance(extra, Mapping) else None
    named = (
        f"problem {str(problem)[:200]!r}" if problem else f"ground truth {str(row['ground_truth'])[:200]!r}"
    )
    return f"{named}, response ...{row['solution_str'][-100:]!r}"


def _refused(why: str) -> dict[str, Any]:
    return {"score": 0.0, REFUSED: why}


def _raised(error: BaseException) -> dict[str, Any]:
    # Its representation: an answer may hold what a terminal obeys.
    return _refused(f"it raised {error!r:.500}")


async def _in_thread(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run in a thread of its own: one that hangs takes no place in a pool, and keeps no process alive."""
    future: Future[dict[str, Any]] = Future()
    future.set_running_or_notify_cancel()
    Thread(target=lambda: future.set_result(work()), daemon=True, name="reward").start()
    return await asyncio.wrap_future(future)
