"""verl's reward managers around a guarded reward function (`verl_egrsd.reward.guard`).

The trainer puts this module in the place of verl's registry, so the two classes have verl's names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict
from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls

from verl_egrsd.preflight.reading import VERIFIER, score_checks
from verl_egrsd.reward.guard import Guard

MANAGERS = ("naive", "dapo")
"""Managers of verl that only call the function."""


def _guarded(name: str) -> type:
    manager = get_reward_manager_cls(name)

    class Guarded(manager):  # type: ignore[misc, valid-type]
        """A manager of verl whose reward function gives every row a score, or says why there is none."""

        compute_score: Any

        def __init__(self, config: DictConfig, tokenizer: Any, compute_score: Any, **others: Any) -> None:
            super().__init__(config, tokenizer, compute_score, **others)
            own = config.reward.custom_reward_function.path == VERIFIER
            self.compute_score = Guard(
                self.compute_score, score_checks(config), limited=not own, last_words=last_words(config)
            )
            self.is_async_reward_score = True

    return Guarded


naive, dapo = map(_guarded, MANAGERS)


def last_words(config: DictConfig) -> Path:
    """Return the file in which a reward worker says why it is ended, for the last line of the run."""
    return Path(config.trainer.default_local_dir) / ".reward_last_words"


def guard_rewards(config: DictConfig) -> None:
    """Have verl's reward workers load the managers of this module; a manager of the user's stays."""
    manager = config.reward.reward_manager
    if manager.source == "register" and manager.name in MANAGERS:
        with open_dict(manager):
            manager.source, manager.module.path = "importlib", f"pkg://{__name__}"
