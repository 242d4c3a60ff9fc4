"""Worker processes for verdicts: each item has a time limit, and no item can harm another.

sympy can compute for ever while it holds the interpreter's lock. Only another process can stop it. The
standard pools cannot end one worker, and the child processes of multiprocessing need an importable `__main__`
or a fork, neither of which is safe inside a Ray worker. So a worker is a plain subprocess at the other end of
a pipe, which imports math-verify and neither torch nor verl.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from threading import Lock, Semaphore

from verl_egrsd.reward.answer import final_answer, normalise
from verl_egrsd.reward.verdict import Reason, Verdict

logger = logging.getLogger(__name__)
TIME_LIMIT = 5.0
"""Seconds for parsing and comparing one item, counted from when a ready worker receives it."""
START_LIMIT = 120.0
"""Seconds in which a new worker must have imported math-verify."""
SHARED_PROCESSES = 2
"""Workers of the pool behind :func:`verify_answer`: two, so that one stuck item does not block the others."""
LONGEST_ANSWER = 2_000
"""Characters; a longer answer or ground truth is compared as a string only."""
TOLD_CHARACTERS = 200
"""Characters of an answer or a ground truth in the log."""
LOOKAHEAD = 256
"""Items per worker that a stream reads ahead, so that the others work on while one is stuck."""

Item = tuple[str, str] | tuple[str, str, str | None]
"""Response, ground truth, and the text of the problem if it is known."""
_Question = tuple[str, str, str | None]
"""What a worker judges: answer, ground truth, problem."""


class VerdictPool:
    """A bounded number of worker processes that judge responses; a context manager.

    Any number of threads may use one pool at once; from asyncio use `asyncio.to_thread`. Workers start when
    they are needed. One that exceeds the limit or dies is replaced, and its item gets `timeout` or `error`.
    Workers end with the pool, and also when its process is killed.

    Args:
        processes: largest number of workers at a time, 1 or more; each takes about 80 MB.
        time_limit: seconds for one item, positive; waiting for a free worker does not count.

    Raises:
        ValueError: for an argument out of range.
    """

    def __init__(self, processes: int, time_limit: float = TIME_LIMIT) -> None:
        for name, value in (("processes", processes), ("time_limit", time_limit)):
            if value <= 0:
                raise ValueError(f"{name}={value!r} is not allowed: it must be positive.")
        self.processes, self.time_limit = processes, time_limit
        self._free = Semaphore(processes)
        self._idle: deque[_Worker] = deque()
        self._all: set[_Worker] = set()
        self._lock = Lock()
        self._told = False
        self._owner: int | None = os.getpid()

    def __enter__(self) -> VerdictPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def verify(self, items: Iterable[Item], *, reasoning_counts: bool = False) -> Iterator[Verdict]:
        """Judge a stream of items, in order; reads ahead a bounded number of them."""
        threads = ThreadPoolExecutor(self.processes, thread_name_prefix="verdict")
        pending: deque[Future[Verdict]] = deque()
        try:
            for response, ground_truth, *problem in items:
                judge = partial(
                    self.verify_one, problem=next(iter(problem), None), reasoning_counts=reasoning_counts
                )
                pending.append(threads.submit(judge, response, ground_truth))
                if len(pending) >= LOOKAHEAD * self.processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def verify_one(
        self,
        response: str,
        ground_truth: str,
        *,
        inside_reasoning: bool = False,
        problem: str | None = None,
        reasoning_counts: bool = False,
        time_limit: float | None = None,
    ) -> Verdict:
        """Judge one response; see :func:`verify_answer`. `time_limit` replaces that of the pool.

        Raises:
            RuntimeError: when the pool is closed, belongs to another process, or cannot start a worker.
        """
        extracted = final_answer(
            response, inside_reasoning=inside_reasoning, reasoning_counts=reasoning_counts
        )
        if not extracted:
            return Verdict.of("", strict=False, math="no_answer")
        strict = bool(normalise(extracted)) and normalise(extracted) == normalise(ground_truth)
        if max(len(extracted), len(ground_truth)) > LONGEST_ANSWER:
            return Verdict.of(extracted, strict=strict, math="unparsed")
        math = self._judge((extracted, ground_truth, problem), time_limit or self.time_limit)
        return Verdict.of(extracted, strict=strict, math=math)

    def close(self) -> None:
        """End all workers; may be called again, and does nothing in a fork of the owner."""
        if self._owner != os.getpid():
            return
        with self._lock:
            self._owner = None
            workers = list(self._all)
        for worker in workers:
            worker.end()

    def _judge(self, question: _Question, time_limit: float) -> Reason:
        with self._free:
            worker = self._take()
            reason, raised = worker.judge(question, time_limit)
            if worker.usable:
                self._idle.append(worker)
            else:
                self._drop(worker)
        if self._owner is None:
            raise RuntimeError(
                "the verdict pool was closed while it was in use: close it after the last verdict."
            )
        if reason == "error":
            self._tell(question, raised)
        return reason

    def _tell(self, question: _Question, raised: str) -> None:
        """Log the first error of the pool; the verdicts count them."""
        with self._lock:
            if self._told:
                return
            self._told = True
        answer, ground_truth, _ = question
        logger.warning(
            "the verifier failed on %r (ground truth %r): %s. Its verdict is error; later ones are counted.",
            *(answer[:TOLD_CHARACTERS], ground_truth[:TOLD_CHARACTERS], raised),
        )

    def _take(self) -> _Worker:
        with self._lock:
            if self._owner != os.getpid():
                raise RuntimeError(
                    "this verdict pool is closed, or was made by another process: make a VerdictPool where "
                    "it is used."
                )
            if self._idle:
                return self._idle.pop()
            worker = _Worker()
            self._all.add(worker)
            return worker

    def _drop(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


class _Worker:
    """One worker process and our end of its pipe; used by one thread at a time."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        command = [sys.executable, "-P", "-m", "verl_egrsd.reward.worker", str(theirs.fileno())]
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        with theirs:
            self.process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # A fixed hash seed: sympy's order of terms, and with it a verdict, must not vary by process.
                env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"},
                process_group=0,  # the terminal's Ctrl-C would end it before it can ignore that
            )
        self.ready = False
        self.usable = True

    def judge(self, question: _Question, time_limit: float) -> tuple[Reason, str]:
        """Judge one answer; return the verdict, and for an error its cause.

        A worker that got stuck, died or grew too large is not usable afterwards.
        """
        self._await_ready()
        try:
            self.connection.send((question, time_limit))
            if self.connection.poll(time_limit):
                reason, raised, self.usable = self.connection.recv()
                return reason, raised
        except (EOFError, OSError):
            self.usable = False
            return "error", "its process was killed or crashed"
        self.usable = False
        return "timeout", ""

    def end(self) -> None:
        """End the process and wait for it, so that no orphan or zombie remains."""
        self.process.kill()
        self.process.wait()

    def _await_ready(self) -> None:
        if self.ready:
            return
        with suppress(EOFError, OSError):
            self.ready = self.connection.poll(START_LIMIT) and self.connection.recv() == "ready"
        if not self.ready:
            self.end()
            raise RuntimeError(
                f"a worker process of the verifier did not start (exit code {self.process.returncode}): its "
                f"error output is above; check that {sys.executable} can import math_verify."
            )


_shared = VerdictPool(SHARED_PROCESSES)


def verify_answer(
    response: str,
    ground_truth: str,
    *,
    inside_reasoning: bool = False,
    problem: str | None = None,
    reasoning_counts: bool = False,
    time_limit: float = TIME_LIMIT,
) -> Verdict:
    """Judge a response; safe in threads, Ray actors and (through `asyncio.to_thread`) asyncio.

    Both paths judge every answer, even if the strings are equal, so that every disagreement is counted.
    math-verify runs in a pool that this process shares; its two workers start when first needed, which takes
    about a second.

    Args:
        response: decoded response; see :func:`verl_egrsd.reward.final_answer` for what counts.
        ground_truth: the reference answer, LaTeX or plain.
        inside_reasoning: whether the prompt opened the reasoning, see
            :func:`verl_egrsd.reward.opens_reasoning`.
        problem: text of the problem. It tells whether an equation is asked for, and what the letters of a
            multiple choice stand for.
        reasoning_counts: accept an answer inside the reasoning if there is none after it.
        time_limit: seconds for parsing and comparison, counted from when a worker receives the answer.

    Raises:
        RuntimeError: when a worker process cannot be started.
    """
    return _shared.verify_one(
        response,
        ground_truth,
        inside_reasoning=inside_reasoning,
        problem=problem,
        reasoning_counts=reasoning_counts,
        time_limit=time_limit,
    )


def _renew() -> None:
    """Give a forked process a shared pool of its own: the pipes of the old one belong to its parent."""
    global _shared
    _shared = VerdictPool(SHARED_PROCESSES)


os.register_at_fork(after_in_child=_renew)
atexit.register(lambda: _shared.close())
