"""How long each phase of a run may take (`watchdog` in the configuration), validated when built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from verl_egrsd.config import Checker, build

PHASES = {
    "start": "the start",
    "generation": "the generation",
    "scoring": "the scoring",
    "update": "the update",
    "sync": "the weight sync",
    "save": "the saving of the checkpoint",
    "validation": "the validation",
}
"""The phases of a run and how a sentence calls them; each is a key of `watchdog`."""


@dataclass(frozen=True)
class WatchdogConfig:
    """Deadlines, all in seconds. They are far above what a healthy run needs, and end one that hangs.

    Attributes:
        start: from the first process until the engines hold the weights.
        generation: the rollouts of a step and their rewards.
        scoring: log-probs of student and teacher, and the credit.
        update: the update of the student, and of a teacher that moves.
        sync: the weights of the student go to the rollout engine.
        save: a checkpoint is written.
        validation: all validation rows are answered and scored.
        every: the processes of a run are asked this often whether they live.
        stop: after Ctrl-C or SIGTERM, the step in progress may take this long to end with a checkpoint; 0
            ends the run at once.
    """

    start: float = 3600.0
    generation: float = 7200.0
    scoring: float = 3600.0
    update: float = 7200.0
    sync: float = 1800.0
    save: float = 3600.0
    validation: float = 14400.0
    every: float = 5.0
    stop: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that are not seconds."""
        check = Checker("watchdog", self)
        for field in fields(self):
            if field.name == "stop":
                check.number("stop", lambda x: x >= 0, "0 or more, in seconds")
            else:
                check.number(field.name, lambda x: x > 0, "positive, in seconds")


def watchdog_settings(given: Mapping[str, Any] | None) -> WatchdogConfig:
    """Complete the block `watchdog` of a configuration; a null value counts as not set.

    Raises:
        ValueError: for an unknown key or a value out of range.
    """
    return build(WatchdogConfig, given, "watchdog")
