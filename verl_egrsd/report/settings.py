"""Settings of the run report (`report` in the configuration), validated when built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from verl_egrsd.config import build
from verl_egrsd.methods import HealthCheck, health_checks
from verl_egrsd.rollouts.wording import HESITATION_WORDS, NGRAM

Limits = tuple[float, float]
"""(warn, fail): values from which a check warns and fails; if less is worse, fail is the smaller value."""


FactorLimits = tuple[float, float | None]
"""The limits of a factor's check; without the second value it only warns."""


@dataclass(frozen=True)
class Thresholds:
    """When a health check warns or fails. Every pair is (warn, fail).

    Attributes:
        window: number of steps at the end of the run that are checked, and at its start that a drift is
            measured from; half the run if it is shorter than two windows.
        accuracy_fall: relative loss of accuracy since the start, in training or in a validation.
        accuracy_least: a start below this accuracy counts as this accuracy, so that noise near zero is not a
            fall.
        verifier_failures: share of answers on which the verifier timed out or failed.
        length_drift: relative change of the mean response length, in either direction.
        truncation: share of truncated rollouts.
        repetition: share of repeated n-grams.
        hesitation_drift: relative change of the hesitation rate, in either direction.
        hesitation_least: a start below this rate (words per 100) counts as this rate, so that noise near zero
            is not a drift.
        weight: mean of the product of all weights; less is worse.
        update_share: share of the LoRA update that reaches the rollout engine; less is worse. The log warns.
        probs_diff: mean difference of the probabilities of rollout and student. The log warns.
        gradient_spike: largest gradient norm in the window, as a multiple of the run's median.
        all_wrong: share of the window's steps without a right answer.
        of_factors: limits of the checks that the factors name, by key; in the configuration these keys stand
            beside the others.
    """

    window: int = 10
    accuracy_fall: Limits = (0.15, 0.4)
    accuracy_least: float = 0.1
    verifier_failures: Limits = (0.02, 0.1)
    length_drift: Limits = (0.25, 0.5)
    truncation: Limits = (0.1, 0.5)
    repetition: Limits = (0.2, 0.5)
    hesitation_drift: Limits = (0.5, 0.9)
    hesitation_least: float = 0.5
    weight: Limits = (0.7, 0.4)
    update_share: Limits = (0.9, 0.5)
    probs_diff: Limits = (0.02, 0.05)
    gradient_spike: Limits = (5.0, 20.0)
    all_wrong: Limits = (0.1, 0.5)
    of_factors: Mapping[str, FactorLimits] = field(default_factory=lambda: _factor_limits({}))

    def __post_init__(self) -> None:
        """Turn the lists of a configuration into pairs, and refuse other values."""
        for key, default in ((item.name, item.default) for item in fields(self)):
            value = getattr(self, key)
            if key == "of_factors":
                continue
            if isinstance(default, tuple):
                object.__setattr__(self, key, _limits(key, value, falling=default[0] > default[1]))
                continue
            # An int field takes a whole number, a float field any number.
            kind, wording = (
                (int, "whole number from 1") if isinstance(default, int) else (float, "positive number")
            )
            if isinstance(value, bool) or not isinstance(value, int | kind) or value <= 0:
                raise ValueError(f"report.thresholds.{key}={value!r} is not allowed: it must be a {wording}.")

    def of_factor(self, check: HealthCheck) -> FactorLimits:
        """Return the limits of a factor's check."""
        return self.of_factors[check.threshold]


def factor_thresholds() -> dict[str, HealthCheck]:
    """Return the checks of all factors and of a divergence, by their key in `report.thresholds`."""
    return {check.threshold: check for checks in health_checks().values() for check in checks}


@dataclass(frozen=True)
class ReportConfig:
    """The run report.

    Attributes:
        folder: the folder that it is written to.
        hesitation_words: words and phrases that `egrsd/hesitation_rate` counts.
        ngram: tokens of an n-gram of `egrsd/repetition/...`.
        thresholds: thresholds of the health checks.
    """

    folder: str
    hesitation_words: Sequence[str] = HESITATION_WORDS
    ngram: int = NGRAM
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        """Refuse words and n-grams that cannot be counted."""
        words = self.hesitation_words
        if isinstance(words, str) or not words or not all(isinstance(w, str) and w.strip() for w in words):
            raise ValueError(f"report.hesitation_words={words!r} is not allowed: it must be a list of words.")
        object.__setattr__(self, "hesitation_words", tuple(words))
        if isinstance(self.ngram, bool) or not isinstance(self.ngram, int) or self.ngram < 1:
            raise ValueError(f"report.ngram={self.ngram!r} is not allowed: it must be a whole number from 1.")


def resolve_report(given: Mapping[str, Any], *, folder: str) -> ReportConfig:
    """Complete the block `report` of a configuration.

    Args:
        given: the keys that the user set; a null value counts as not set.
        folder: the default folder of the report.

    Raises:
        ValueError: for an unknown key or a value that is not allowed.
    """
    values = {"folder": folder} | {key: value for key, value in given.items() if value is not None}
    values["thresholds"] = _thresholds(values.get("thresholds") or {})
    return build(ReportConfig, values, "report")


def _thresholds(given: Mapping[str, Any]) -> Thresholds:
    values = {key: value for key, value in given.items() if value is not None}
    checks = factor_thresholds()
    of_factors = _factor_limits({key: values.pop(key) for key in checks if key in values})
    known = [item.name for item in fields(Thresholds) if item.name != "of_factors"]
    for key, value in values.items():
        if key not in known:
            raise ValueError(
                f"unknown key report.thresholds.{key}={value!r}; known keys: {', '.join([*known, *checks])}."
            )
    return Thresholds(**values, of_factors=of_factors)


def _factor_limits(given: Mapping[str, Any]) -> dict[str, FactorLimits]:
    """Return the limits of all factors' checks by key; a limit that is not given keeps its default."""
    checks = factor_thresholds()
    return {key: _limits_of(check, given.get(key, check.limits)) for key, check in checks.items()}


def _limits_of(check: HealthCheck, value: Any) -> FactorLimits:
    warn, fail = check.limits
    if fail is not None:
        return _limits(check.threshold, value, falling=warn > fail)
    number = value[0] if isinstance(value, list | tuple) and value[1:] in ([None], (None,)) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        key = f"report.thresholds.{check.threshold}"
        raise ValueError(f"{key}={value!r} is not allowed: it must be a number.")
    return float(number), None


def _limits(key: str, value: Any, *, falling: bool) -> Limits:
    try:
        warn, fail = map(float, value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"report.thresholds.{key}={value!r} is not allowed: it must be a pair [warn, fail] of numbers."
        ) from error
    if warn < fail if falling else warn > fail:
        raise ValueError(
            f"report.thresholds.{key}={value!r} is not allowed: warn must not lie "
            f"{'below' if falling else 'above'} fail."
        )
    return warn, fail
