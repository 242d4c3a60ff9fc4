"""The Ray actors of a run: which of them is dead.

Every actor has one question pending. A busy actor answers it later; a dead one makes Ray answer at once, with
an error. So asking costs nothing and takes no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from verl_egrsd.processes import KILLED

KNOWN_SECONDS = 5.0
"""Within this time Ray knows that an actor died whose call has just failed."""


class Processes:
    """Actors by what a sentence calls them, for instance `agent-loop worker 0`."""

    def __init__(self) -> None:
        self._ask: dict[str, Callable[[], Any]] = {}
        self._asked: dict[str, Any] = {}
        self._last_words: dict[str, Path] = {}

    def add(
        self,
        kind: str,
        actors: Iterable[Any],
        question: Callable[[Any], Any] | None = None,
        *,
        last_words: Path | None = None,
    ) -> None:
        """Watch some actors, `kind 0`, `kind 1` and so on.

        Args:
            kind: what they are.
            actors: their handles.
            question: runs in the actor's process, with the actor's object; it returns None, or a text that
                says what is wrong.
            last_words: file in which one of them says why it ends; what an earlier run left goes.
        """
        if last_words:
            last_words.unlink(missing_ok=True)
        for number, actor in enumerate(actors):
            name = f"{kind} {number}"
            self._ask[name] = _asking(actor, question)
            if last_words:
                self._last_words[name] = last_words

    def dead(self) -> str | None:
        """Say which actor died or answered that something is wrong, without waiting; else None."""
        for name, ask in self._ask.items():
            if name not in self._asked:
                self._asked[name] = ask()
        refs = list(self._asked.values())
        answered, _ = ray.wait(refs, num_returns=len(refs), timeout=0) if refs else ([], [])
        complaints = [self._complaint(name, ref) for name, ref in [*self._asked.items()] if ref in answered]
        return next(filter(None, complaints), None)

    def dead_within(self, seconds: float = KNOWN_SECONDS) -> str | None:
        """Say which actor is dead, once Ray knows; None if none is known to be dead by then."""
        deadline = time.monotonic() + seconds
        while (found := self.dead()) is None and self._ask and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def _complaint(self, name: str, ref: Any) -> str | None:
        del self._asked[name]
        try:
            answer = ray.get(ref)
        except RayActorError as error:
            if error.actor_init_failed:
                return f"{name} could not start: {str(error).splitlines()[-1]}"
            return f"{name} died: {self._why(name)}"
        except RayError as error:
            return f"{name} does not answer: {error}"
        return f"{name} died: {answer}" if isinstance(answer, str) else None

    def _why(self, name: str) -> str:
        words = self._last_words.get(name)
        return words.read_text(encoding="utf-8") if words and words.exists() else KILLED


def _asking(actor: Any, question: Callable[[Any], Any] | None) -> Callable[[], Any]:
    if question is None:
        return lambda: actor.__ray_ready__.remote()
    return lambda: actor.__ray_call__.remote(question)


def engine_failure(server: Any) -> str | None:
    """Say whether the engine behind a vLLM server of verl is dead; runs in the server's process."""
    dead = getattr(getattr(server, "engine", None), "errored", False)
    return f"the process of its engine ended; {KILLED}" if dead else None
