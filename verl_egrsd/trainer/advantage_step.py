"""From the rollouts of a step to the credit of their tokens, and what is remembered from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from verl_egrsd.methods import Columns, Credited, Method
from verl_egrsd.trainer.rollouts import Rollouts


class CreditedStep(NamedTuple):
    """A step with all that is known of its tokens."""

    rollouts: Rollouts
    columns: Columns
    credited: Credited


class AdvantageStep:
    """Gives the tokens of each step their credit.

    Args:
        method: with all its numbers.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.advantages = method.advantage.start()
        found = {factor.name: factor.tracker() for factor in method.active}
        self.trackers = {name: tracker for name, tracker in found.items() if tracker is not None}
        self._rewards: Tensor | None = None

    def credit(self, rollouts: Rollouts, step: int) -> CreditedStep:
        """Return the credit of every response token.

        Raises:
            ValueError: for a score or a column that is not finite, naming column and prompt.
        """
        columns = rollouts.columns(self.method, step)
        advantages = rollouts.verls_advantages
        if advantages is None:
            advantages = self.advantages.advantages(columns).unsqueeze(1)
        self._rewards = columns.rewards
        return CreditedStep(rollouts, columns, self.method.credit(columns, advantages))

    def updated(self) -> None:
        """Take the rewards of the step into the running statistics, after its gradient step."""
        if self._rewards is not None:
            self.advantages.update(self._rewards)

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, ready for JSON."""
        return {
            "advantage": self.advantages.state_dict(),
            "trackers": {name: tracker.state_dict() for name, tracker in self.trackers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: when it lacks what this method remembers, naming it.
        """
        missing = [name for name in self.trackers if name not in state.get("trackers", {})]
        if missing:
            raise ValueError(
                f"the checkpoint has no state of {', '.join(missing)}: it was written by another version of "
                "this package, or with another method. Start a new run."
            )
        self.advantages.load_state_dict(state["advantage"])
        for name, tracker in self.trackers.items():
            tracker.load_state_dict(state["trackers"][name])
