"""Several engines that share the samples of an evaluation: Ray actors, each with GPUs of its own.

Any replica may answer any prompt, because the seed of a sample does not depend on who draws it. A replica
takes a limited number of prompts at once, and the rest go to whoever is free. When a replica dies, the others
answer its prompts.
"""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from ray.exceptions import OutOfMemoryError, RayActorError, RayError
from tqdm import tqdm

from verl_egrsd.evaluation.generation import Answer, Engine, EngineDiedError, running_engine
from verl_egrsd.evaluation.model import Servable
from verl_egrsd.evaluation.settings import EngineOptions, Settings
from verl_egrsd.processes import KILLED
from verl_egrsd.watch.words import one_line

AT_ONCE = 256
"""Most prompts that a replica takes at once, unless `max_num_seqs` says otherwise."""
LEAST = 64
"""Up to this many prompts a replica takes its whole share at once."""


class Replica:
    """An engine in an actor."""

    async def start(
        self, servable: Servable, settings: Settings, options: EngineOptions, longest_prompt: int
    ) -> None:
        """Start the engine; arguments as :func:`running_engine`.

        Raises:
            FileNotFoundError: when this machine does not have the model's folder.
        """
        for folder in filter(None, (servable.model, servable.adapter)):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder} is missing on {socket.gethostname()}: put models and --out where every node "
                    "can read them."
                )
        self._held = ExitStack()
        self._engine: Engine = self._held.enter_context(
            running_engine(servable, settings, options, longest_prompt)
        )

    async def answer(self, name: str, prompt: Sequence[int], seed: int) -> Answer:
        """Answer one prompt; see :meth:`Engine.answer`."""
        return await self._engine.answer(name, prompt, seed)

    async def lengths(self) -> list[int]:
        """Return how long the answers under way are; see :meth:`Engine.lengths`."""
        return await self._engine.lengths()


class Replicas:
    """Replicas that share prompts; made by :func:`.fleet.running_replicas`.

    Args:
        actors: handles of :class:`Replica`.
        at_once: prompts that a replica takes at once.
    """

    def __init__(self, actors: Sequence[Any], at_once: int) -> None:
        self._alive = dict(enumerate(actors))
        self._at_once = at_once
        self._ready: set[int] = set()
        # A place is the number of a replica that can take a prompt; None says that no replica is left.
        self._places: asyncio.Queue[int | None] = asyncio.Queue()
        self._last_words = ""

    async def start(self, number: int, *arguments: Any) -> None:
        """Start the engine of a replica, which then takes prompts; arguments as :meth:`Replica.start`."""
        try:
            await self._alive[number].start.remote(*arguments)
        except RayError as error:
            cause = getattr(error, "cause", None)
            why = f"{type(cause).__name__}: {cause}" if cause else KILLED
            self._lose(number, f"did not start: {one_line(why)} (VLLM_LOGGING_LEVEL=INFO shows more)")
            return
        self._ready.add(number)
        for _ in range(self._at_once):
            self._places.put_nowait(number)

    def started(self, start: asyncio.Task[None]) -> None:
        """Give up if a start failed in a way that the other replicas would fail in too."""
        if not start.cancelled() and (error := start.exception()):
            self._last_words = f"{type(error).__name__}: {error}"
            self._alive.clear()
            self._places.put_nowait(None)

    async def answer(self, name: str, prompt: Sequence[int], seed: int) -> Answer:
        """Answer one prompt, again if its replica dies; arguments as :meth:`Engine.answer`.

        Raises:
            ConnectionError: when no replica is left.
            RuntimeError: see :meth:`Engine.answer`.
        """
        while True:
            number = await self._place()
            try:
                answer = await self._alive[number].answer.remote(name, prompt, seed)
            except (RayActorError, OutOfMemoryError, EngineDiedError):
                self._lose(number, f"died: {KILLED}")
            else:
                self._places.put_nowait(number)
                return answer

    async def lengths(self) -> list[int]:
        """Return the tokens so far of each answer that is being generated."""
        asked = [self._alive[number].lengths.remote() for number in self._ready]
        found = await asyncio.gather(*asked, return_exceptions=True)
        return [length for lengths in found if isinstance(lengths, list) for length in lengths]

    async def _place(self) -> int:
        """Wait for a living replica that can take a prompt."""
        while (number := await self._places.get()) not in self._alive:
            if number is None:
                self._places.put_nowait(None)  # for the others that wait
                raise ConnectionError(f"no replica is left: {self._last_words}")
        return number

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
