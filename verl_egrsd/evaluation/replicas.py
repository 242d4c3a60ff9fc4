"""Several engines that share the samples of an evaluation; each is a Ray actor with GPUs of its own.

Any replica may answer any prompt, because the seed of a sample does not depend on who draws it. A replica
takes a limited number of prompts at once, and the rest go to whoever is free. When a replica dies, or hangs
for too long, the others answer its prompts.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ray.exceptions import OutOfMemoryError, RayActorError, RayError
from tqdm import tqdm

from verl_egrsd.evaluation.generation import Answer, EngineDiedError
from verl_egrsd.processes import KILLED
from verl_egrsd.watch.words import one_line

AT_ONCE = 256
"""Most prompts that a replica takes at once, unless `max_num_seqs` says otherwise."""
LEAST = 64
"""Up to this many prompts a replica takes its whole share at once."""
LOOKS_WITHOUT_PROGRESS = 20
"""A replica is looked at this often within its limit. So a machine that stands still for a while, as one that
sleeps does, costs one look and no replica."""
LONGEST_LOOK_SECONDS = 10.0
"""A replica that does not say for this long how far it is has shown no progress."""
Reply = TypeVar("Reply")


class Replicas:
    """Replicas that share prompts; made by :func:`.fleet.running_replicas`.

    Args:
        actors: handles of :class:`.fleet.Replica`.
        at_once: prompts that a replica takes at once.
        no_progress: seconds after which a replica is given up whose start has not ended or whose answers have
            not grown.
        kill: ends an actor that is given up.
    """

    def __init__(
        self,
        actors: Sequence[Any],
        at_once: int,
        no_progress: float = math.inf,
        kill: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self._alive = dict(enumerate(actors))
        self._at_once, self._no_progress, self._kill = at_once, no_progress, kill
        self._ready: set[int] = set()
        self._under_way: Counter[int] = Counter()
        self._answered: Counter[int] = Counter()
        self._given_up = {number: asyncio.get_running_loop().create_future() for number in self._alive}
        # A place is the number of a replica that can take a prompt; None says that no replica is left.
        self._places: asyncio.Queue[int | None] = asyncio.Queue()
        self._last_words = ""

    async def start(self, number: int, *arguments: Any) -> None:
        """Start the engine of a replica, which then takes prompts; a replica that does not start is lost.

        Args:
            number: of the replica.
            arguments: those of :meth:`.fleet.Replica.start`.
        """
        try:
            limit = self._no_progress if self._no_progress < math.inf else None
            await asyncio.wait_for(self._alive[number].start.remote(*arguments), limit)
        except RayError as error:
            cause = getattr(error, "cause", None)
            why = f"{type(cause).__name__}: {cause}" if cause else KILLED
            self._lose(number, f"did not start: {one_line(why)} (VLLM_LOGGING_LEVEL=INFO shows more)")
            return
        except TimeoutError:
            self._give_up(
                number,
                f"did not start within {self._no_progress:g} s (--no-progress): it hangs, or waits for GPUs "
                "that others use",
            )
            return
        self._ready.add(number)
        for _ in range(self._at_once):
            self._places.put_nowait(number)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Give up if a start failed in a way that all others would fail in too, or if the watch failed."""
        if not task.cancelled() and (error := task.exception()):
            self._last_words = f"{type(error).__name__}: {error}"
            self._alive.clear()
            for given_up in self._given_up.values():
                if not given_up.done():
                    given_up.set_result(None)
            self._places.put_nowait(None)

    async def answer(self, name: str, prompt: Sequence[int], seed: int) -> Answer:
        """Answer one prompt, again if its replica is lost; arguments as :meth:`Engine.answer`.

        Raises:
            ConnectionError: when no replica is left.
            RuntimeError: see :meth:`Engine.answer`.
        """
        while True:
            number = await self._place()
            self._under_way[number] += 1
            try:
                answer = await self._reply(number, self._alive[number].answer.remote(name, prompt, seed))
            except (RayActorError, OutOfMemoryError, EngineDiedError):
                self._lose(number, f"died: {KILLED}")
            else:
                self._answered[number] += 1
                self._places.put_nowait(number)
                return answer
            finally:
                self._under_way[number] -= 1

    async def lengths(self) -> list[int]:
        """Return the tokens so far of each answer that is being generated."""
        found = await asyncio.gather(*map(self._lengths_of, self._ready))
        return [length for lengths in found for length in lengths or ()]

    async def watch(self) -> None:
        """Give up the replicas that make no progress, until cancelled."""
        seen: dict[int, tuple[int, list[int]]] = {}
        idle: Counter[int] = Counter()
        while self._no_progress < math.inf:
            await asyncio.sleep(self._no_progress / LOOKS_WITHOUT_PROGRESS)
            numbers = list(self._ready)
            for number, lengths in zip(
                numbers, await asyncio.gather(*map(self._lengths_of, numbers)), strict=True
            ):
                before = seen.get(number, (0, []))
                seen[number] = self._answered[number], before[1] if lengths is None else lengths
                stands = self._under_way[number] > 0 and seen[number] == before
                idle[number] = idle[number] + 1 if stands else 0
                if idle[number] >= LOOKS_WITHOUT_PROGRESS:
                    self._give_up(number, f"made no progress for {self._no_progress:g} s (--no-progress)")

    async def _reply(self, number: int, asked: Awaitable[Reply]) -> Reply:
        """Await what a replica was asked, unless it is given up meanwhile."""
        reply = asyncio.ensure_future(asked)
        try:
            await asyncio.wait({reply, self._given_up[number]}, return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                raise EngineDiedError("it hangs")
            return reply.result()
        finally:
            reply.cancel()

    async def _lengths_of(self, number: int) -> list[int] | None:
        """Return the tokens so far of a replica's answers; None if it does not say, or is lost."""
        if number not in self._alive:
            return None
        seconds = min(LONGEST_LOOK_SECONDS, self._no_progress / LOOKS_WITHOUT_PROGRESS)
        try:
            lengths: list[int] = await asyncio.wait_for(self._alive[number].lengths.remote(), seconds)
        except (TimeoutError, RayError):
            return None
        return lengths

    async def _place(self) -> int:
        """Wait for a living replica that can take a prompt."""
        while (number := await self._places.get()) not in self._alive:
            if number is None:
                self._places.put_nowait(None)  # for the others that wait
                raise ConnectionError(f"no replica is left: {self._last_words}")
        return number

    def _give_up(self, number: int, why: str) -> None:
        """Go on without a replica that hangs, and end it."""
        if (actor := self._alive.get(number)) is not None:
            self._lose(number, why)
            self._given_up[number].set_result(None)
            self._kill(actor)

    def _lose(self, number: int, why: str) -> None:
        """Go on without a replica; its prompts fail one by one, and only the first is news."""
        if self._alive.pop(number, None) is None:
            return
        self._ready.discard(number)
        self._last_words = f"replica {number} {why}"
        if not self._alive:
            self._places.put_nowait(None)
            return
        others = f"{len(self._alive)} replica{'s' if len(self._alive) > 1 else ''}"
        tqdm.write(
            f"verl_egrsd: {self._last_words}. Its samples are drawn again, and the evaluation goes on with "
            f"{others}.",
            file=sys.stderr,
        )


def at_once(samples: int, replicas: int, limit: int | None = None) -> int:
    """Return how many prompts a replica takes at once: not more than its share, and half of a large share.

    Args:
        samples: number of samples to draw.
        replicas: number of replicas.
        limit: the largest number; None for :data:`AT_ONCE`.
    """
    share = math.ceil(samples / replicas)
    return min(limit or AT_ONCE, share, max(LEAST, math.ceil(share / 2)))
