"""Where the advantage comes from."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from verl_egrsd.credit import RunningAdvantage
from verl_egrsd.credit.types import PerRow
from verl_egrsd.methods.columns import Columns, group_mean, group_size, group_sum
from verl_egrsd.methods.part import Advantages, AdvantageSource

EPS = 1e-6
"""Added to a standard deviation."""


@dataclass(frozen=True)
class RunningBaseline(AdvantageSource):
    """A = (r - mean) / std over all earlier steps; one rollout per prompt is enough (EGRSD).

    Attributes:
        warmup_steps: training steps during which the advantage is reward - warmup_baseline.
        warmup_baseline: baseline of the warm-up.
    """

    name: ClassVar[str] = "running"
    section: ClassVar[str] = ""

    warmup_steps: int = 10
    warmup_baseline: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.integer("warmup_steps", minimum=0)
        self.check.number("warmup_baseline", math.isfinite, "a finite number")

    def start(self) -> Advantages:
        """Return the statistics of a run that starts."""
        return _Running(self)


class _Running:
    """The statistics of the rewards; they read no other column."""

    def __init__(self, source: RunningBaseline) -> None:
        self.statistics = RunningAdvantage(source.warmup_steps, source.warmup_baseline)

    def advantages(self, columns: Columns) -> PerRow:
        """Return A of each row, (B,), float32."""
        return self.statistics.advantages(columns.rewards)

    def update(self, rewards: PerRow) -> None:
        """Take in one step's rewards."""
        self.statistics.update(rewards)

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, ready for JSON."""
        return self.statistics.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from saved statistics."""
        self.statistics.load_state_dict(state)


class Memoryless(AdvantageSource):
    """An advantage that depends on the rows of one step alone."""

    @abstractmethod
    def advantages(self, columns: Columns) -> PerRow:
        """Return A of each row, (B,), float32."""

    def start(self) -> Advantages:
        """Return itself: there is nothing to remember."""
        return self

    def update(self, rewards: PerRow) -> None:
        """Remember nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing; there is no state."""


@dataclass(frozen=True)
class GroupRelative(Memoryless):
    """A = (r - mean) / (std + 1e-6) over the rollouts of the prompt, with the sample deviation (GRPO)."""

    name: ClassVar[str] = "group"

    @property
    def reads(self) -> frozenset[str]:
        """Which rows answer the same prompt."""
        return frozenset({"problems"})

    def advantages(self, columns: Columns) -> PerRow:
        """Return A; 0 where all rollouts of a prompt earn the same."""
        rewards, problems = columns.rewards.double(), columns.problems
        centred = rewards - group_mean(rewards, problems)
        variance = group_sum(centred.square(), problems) / (group_size(problems) - 1).clamp(min=1)
        return (centred / (variance.sqrt() + EPS)).float()


@dataclass(frozen=True)
class Constant(Memoryless):
    """A is the same for every rollout, whatever its reward (arXiv 2608.31046 finds a negative one enough).

    Attributes:
        value: the advantage, not 0.
    """

    name: ClassVar[str] = "constant"

    value: float = -1.0

    def __post_init__(self) -> None:
        """Refuse an advantage that teaches nothing."""
        self.check.number("value", lambda x: math.isfinite(x) and x != 0, "a finite number other than 0")

    def advantages(self, columns: Columns) -> PerRow:
        """Return the value for every row."""
        return torch.full_like(columns.rewards, self.value, dtype=torch.float32)


@dataclass(frozen=True)
class FromVerl(Memoryless):
    """A is that of verl's estimator `algorithm.adv_estimator`; the trainer has verl compute it."""

    name: ClassVar[str] = "verl"

    def advantages(self, columns: Columns) -> PerRow:
        """Refuse: the columns do not hold what verl's estimators read.

        Raises:
            TypeError: always; take the advantages that verl wrote.
        """
        raise TypeError("the advantages of an estimator of verl are computed by verl: take what it wrote.")


ADVANTAGES: dict[str, AdvantageSource] = {
    source.name: source for source in (RunningBaseline(), GroupRelative(), Constant())
}
"""What `algorithm.egrsd.advantage` may name."""
