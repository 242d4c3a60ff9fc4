"""The parts that a method is made of: each a frozen dataclass whose fields are configuration keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from verl_egrsd.config import Checker
from verl_egrsd.credit.types import PerRow, PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns

NAMESPACE = "algorithm.egrsd"


class Part:
    """A part of a method; subclasses are frozen dataclasses.

    Attributes:
        name: its name in the configuration, in metrics and in dumps.
        section: section of `algorithm.egrsd` that holds its keys; "" if they lie directly under it.
    """

    name: ClassVar[str]
    section: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Name the section after the part, unless the part sets another name."""
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls) and "section" not in vars(cls):
            cls.section = cls.name

    @property
    def check(self) -> Checker:
        """Range checks that name a key of this part."""
        return Checker(f"{NAMESPACE}.{self.section}" if self.section else NAMESPACE, self)

    def keys(self) -> dict[str, Any]:
        """Return the settings as a configuration writes them."""
        return dict(vars(self))


@dataclass(frozen=True)
class Panel:
    """A panel of the run report.

    Attributes:
        title: with the unit in parentheses.
        metrics: names without `egrsd/`.
    """

    title: str
    metrics: Sequence[str]


@dataclass(frozen=True)
class HealthCheck:
    """A health check of the run report over the mean of a metric in the last steps.

    Attributes:
        name: for the reader.
        threshold: key of `report.thresholds`.
        metric: name without `egrsd/`.
        limits: values from which it warns and fails; if low values are bad, the second is the lower one.
            None: it never fails.
        unit: of the metric.
        reading: the finding in a sentence; `{value}` stands for the mean, `{percent}` for it in percent and
            `{steps}` for the steps that were read.
        advice: what to do.
    """

    name: str
    threshold: str
    metric: str
    limits: tuple[float, float | None]
    unit: str
    reading: str
    advice: str


class Tracker(Protocol):
    """What a factor measures over the steps of a run; it is saved with the checkpoint."""

    def update(self, columns: Columns) -> Mapping[str, float]:
        """Take in a step; return metrics by name without `egrsd/`."""

    def views(self, columns: Columns) -> Mapping[str, Tensor]:
        """Return values per token for `verl-egrsd inspect`, (B, T), by name; changes no state."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, ready for JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""


class Factor(Part, ABC):
    """A weight per token, or per rollout, that multiplies the advantage.

    Attributes:
        about_one: whether the weights are meant to lie about 1, so that their mean says how much of the
            update is left; False where they select rollouts or carry a sign.
        centre: weight at which `verl-egrsd inspect` changes the colour; None: one colour, darker for less.
        panels: of the run report, beside the one with the mean weight that every factor gets.
        health_checks: of the run report.
    """

    about_one: ClassVar[bool] = True
    centre: ClassVar[float | None] = None
    panels: ClassVar[tuple[Panel, ...]] = ()
    health_checks: ClassVar[tuple[HealthCheck, ...]] = ()

    @property
    @abstractmethod
    def reads(self) -> frozenset[str]:
        """Columns that the factor needs; the trainer computes and fetches only columns that are read."""

    @property
    def off(self) -> bool:
        """Whether the settings make every weight 1; the factor is left out then."""
        return False

    def check_batch(self, rows: int) -> None:
        """Refuse a number of rollouts per step that does not fit the settings.

        Args:
            rows: rollouts of a step.

        Raises:
            ValueError: naming key, value and remedy.
        """

    @abstractmethod
    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerTokenOrRow:
        """Return the weights, (B, T) or (B, 1); values outside the mask are not used."""

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return further metrics, beside mean, smallest and largest weight.

        Args:
            columns: of the step.
            weights: of this factor, (B, T), 0 outside the mask.

        Returns:
            scalars by name; the metric is `egrsd/FACTOR/NAME`.
        """
        return {}

    def tracker(self) -> Tracker | None:
        """Return the tracker of a run; None if the factor keeps no state."""
        return None


class Advantages(Protocol):
    """An advantage source during a run, with its state."""

    def advantages(self, columns: Columns) -> PerRow:
        """Return A of each row, (B,), float32; changes no state."""

    def update(self, rewards: PerRow) -> None:
        """Take in one step's rewards, after its gradient step."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, ready for JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""


class AdvantageSource(Part, ABC):
    """Where the advantage comes from."""

    @property
    def reads(self) -> frozenset[str]:
        """Columns beside the rewards that it reads."""
        return frozenset()

    @abstractmethod
    def start(self) -> Advantages:
        """Return the source at the start of a run."""
