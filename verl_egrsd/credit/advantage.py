"""Advantage: is this rollout better than earlier ones?

One rollout per prompt leaves no group to compare with, so a reward is standardised by the running mean and
standard deviation of all rewards of earlier training steps (Welford's recurrence, population variance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from verl_egrsd.credit.checks import require
from verl_egrsd.credit.types import PerRow


class RunningAdvantage:
    """Advantages from running reward statistics; one :meth:`update` per training step, after its gradient.

        A[i] = (r[i] - mean) / (std + eps)      statistics over all earlier steps
        A[i] = r[i] - warmup_baseline           during the first `warmup_steps` steps

    The warm-up form also stays while no two rewards have differed: a standard deviation of 0 would turn the
    first success after ten wrong steps into an advantage of a million. Rewards of the warm-up enter the
    statistics. Keep one instance, where all valid rows of the global batch are seen, and save it with the
    checkpoint.

    Args:
        warmup_steps: steps with the fixed baseline, 0 or more.
        warmup_baseline: baseline of those steps, in units of the reward.
        eps: added to the standard deviation, positive.

    Raises:
        ValueError: for an argument out of range.
    """

    def __init__(self, warmup_steps: int = 10, warmup_baseline: float = 0.5, eps: float = 1e-6) -> None:
        require(warmup_steps >= 0, "warmup_steps", warmup_steps, "0 or more")
        require(math.isfinite(warmup_baseline), "warmup_baseline", warmup_baseline, "a finite number")
        require(eps > 0, "eps", eps, "positive")
        self.warmup_steps, self.warmup_baseline, self.eps = warmup_steps, warmup_baseline, eps
        self._steps, self._count, self._mean, self._squares = 0, 0, 0.0, 0.0

    def advantages(self, rewards: PerRow) -> PerRow:
        """Advantages of one step's rewards, (B,), float32; changes no state.

        Raises:
            ValueError: as :meth:`update`.
        """
        values = torch.tensor(_floats(rewards), dtype=torch.float64, device=rewards.device)
        if self._steps < self.warmup_steps or self._squares == 0:
            return (values - self.warmup_baseline).float()
        std = math.sqrt(self._squares / self._count)
        return ((values - self._mean) / (std + self.eps)).float()

    def update(self, rewards: PerRow) -> None:
        """Take one step's rewards, (B,), into the statistics; their order does not matter.

        Raises:
            ValueError: if rewards is not one-dimensional, is empty, or holds a value that is not finite.
        """
        # Sorted: a trainer may hand rows over in any order, and a resumed run must repeat to the last bit.
        for reward in sorted(_floats(rewards)):
            self._count += 1
            delta = reward - self._mean
            self._mean += delta / self._count
            self._squares += delta * (reward - self._mean)
        self._steps += 1

    def state_dict(self) -> dict[str, int | float]:
        """Steps, number of rewards, their mean and their summed squared deviations; plain numbers."""
        return {"steps": self._steps, "count": self._count, "mean": self._mean, "squares": self._squares}

    def load_state_dict(self, state: Mapping[str, int | float]) -> None:
        """Continue from :meth:`state_dict`; the settings stay those of the constructor.

        Raises:
            ValueError: naming the first key that is missing or unknown; nothing is loaded then.
        """
        known = self.state_dict()
        remedy = f"pass what state_dict() returned, with the keys {', '.join(known)}"
        for key in known:
            if key not in state:
                raise ValueError(f"{key} is missing from the state of RunningAdvantage: {remedy}.")
        for key in state:
            if key not in known:
                raise ValueError(
                    f"unknown key {key}={state[key]!r} in the state of RunningAdvantage: {remedy}."
                )
        self._steps, self._count = int(state["steps"]), int(state["count"])
        self._mean, self._squares = float(state["mean"]), float(state["squares"])


def _floats(rewards: PerRow) -> list[float]:
    if rewards.dim() != 1 or rewards.numel() == 0:
        raise ValueError(f"rewards has shape {tuple(rewards.shape)}: pass one reward per row, (batch,).")
    values = [float(reward) for reward in rewards.tolist()]
    for row, value in enumerate(values):
        require(math.isfinite(value), f"rewards[{row}]", value, "a finite number")
    return values
