"""`verl-egrsd eval` whose `--no-progress` counts from when two replicas draw: a start may take long."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from verl_egrsd import cli
from verl_egrsd.network import ask_for_token

START_SECONDS = 3600.0


def give_time_to_start() -> None:
    """Watch replicas only when two have started."""
    ask_for_token()  # before the import of Ray
    from verl_egrsd.evaluation import fleet

    class Patient(fleet.Replicas):
        def __init__(self, actors: Any, at_once: int, no_progress: float, kill: Any) -> None:
            super().__init__(actors, at_once, START_SECONDS, kill)
            self._of_answers = no_progress

        async def watch(self) -> None:
            while len(self._ready) < 2:
                await asyncio.sleep(0.1)
            self._no_progress = self._of_answers
            await super().watch()

    fleet.Replicas = Patient  # type: ignore[misc]


if __name__ == "__main__":
    give_time_to_start()
    sys.exit(cli.main())
