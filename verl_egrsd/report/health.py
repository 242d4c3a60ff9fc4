"""Health checks of a training run: small pure functions over the metrics of its steps.

Each finding has a value, a level, a sentence that reads the value, and advice. A check returns None if the
run lacks its metrics, for example because no teacher is scored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median
from typing import Literal

from verl_egrsd.methods import HealthCheck, health_checks
from verl_egrsd.report.history import metric_names
from verl_egrsd.report.settings import Limits, Thresholds

Level = Literal["ok", "warn", "fail"]
Metrics = Mapping[str, float]
NO_ADVICE = "Nothing to do."
CORRECT = "egrsd/correct"
VALIDATED = re.compile(r"val-core/.+/acc/mean@\d+")
"""verl's name of a validation's accuracy."""


@dataclass(frozen=True)
class Finding:
    """The finding of a check.

    Attributes:
        value: the value that is compared with the thresholds.
        unit: of the value.
        level: "ok", "warn" (read the advice soon) or "fail" (the run is probably wasted).
        reading: the value in a sentence.
        advice: what to do.
    """

    value: float
    unit: str
    level: Level
    reading: str
    advice: str


def examine(
    steps: Sequence[Metrics], thresholds: Thresholds | None = None, own: Collection[str] | None = None
) -> dict[str, Finding | None]:
    """Return the finding of every check by name; None where the run lacks the metrics.

    Args:
        steps: metrics of every step, in order, with those of a validation before the training.
        thresholds: None takes the defaults.
        own: names of the factors whose checks run, and `divergence`; None runs all checks.
    """
    return {name: check(steps, thresholds or Thresholds()) for name, check in all_checks(own).items()}


def accuracy(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Has the accuracy fallen since the start of the run, in training or in a validation?"""
    ends = {"training": _ends(training, thresholds.window)} if (training := _series(steps, CORRECT)) else {}
    for name in filter(VALIDATED.fullmatch, metric_names(steps)):
        validations = _series(steps, name)
        ends[f"validation {name.removeprefix('val-core/')}"] = validations[0], validations[-1], 1
    if not ends:
        return None
    fallen = {
        name: (now - start) / max(start, thresholds.accuracy_least) for name, (start, now, _) in ends.items()
    }
    # A value that is not finite counts as the worst value.
    worst = min(fallen, key=lambda name: (math.isfinite(fallen[name]), fallen[name]))
    start, now, _ = ends[worst]
    reading = f"Accuracy in {worst} is {_percent(now)}, against {_percent(start)} at the start of the run."
    advice = (
        "Training makes the model worse. Check verifier failures, truncation and length first, then whether "
        "the teacher is better than the student (verl-egrsd eval --template); then return to an earlier "
        "checkpoint with a lower learning rate."
    )
    limits = thresholds.accuracy_fall
    return _finding(fallen[worst], -fallen[worst], limits, "relative change", reading, advice)


def length_drift(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Have the responses become longer or shorter since the start of the run?"""
    lengths = _series(steps, "egrsd/response_length/mean")
    if not lengths:
        return None
    start, now, window = _ends(lengths, thresholds.window)
    change = now / start - 1
    reading = (
        f"Responses have {now:,.0f} tokens on average, {_changed(change)} than in the first {_steps(window)} "
        f"({start:,.0f})."
    )
    shorter = (
        "Compare the accuracy of a checkpoint under a long budget: shorter and less accurate means collapse. "
        "Lower the learning rate or algorithm.egrsd.length_beta."
    )
    longer = (
        "Check truncation and repetition: if they rise too, the model is looping. Lower the learning "
        "rate, or raise algorithm.egrsd.length_beta."
    )
    limits = thresholds.length_drift
    return _finding(
        change, abs(change), limits, "relative change", reading, shorter if change < 0 else longer
    )


def truncation(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Are responses truncated?"""
    shares = _series(steps, "egrsd/truncated")[-thresholds.window :]
    if not shares:
        return None
    reading = f"{_percent(fmean(shares))} of the responses were cut before they ended, in {_last(shares)}."
    advice = (
        "A cut response rarely contains its answer. Raise data.max_response_length (the log names another "
        "cap where that one cut), or let the student think less where its chat template has a flag for it "
        "(data.apply_chat_template_kwargs.enable_thinking=False)."
    )
    return _rising(fmean(shares), thresholds.truncation, "share of responses", reading, advice)


def repetition(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Do responses repeat themselves?"""
    shares = _series(steps, "egrsd/repetition/mean")[-thresholds.window :]
    if not shares:
        return None
    worst = max(_series(steps, "egrsd/repetition/max")[-thresholds.window :])
    reading = (
        f"{_percent(fmean(shares))} of the n-grams of a response are repeats, in {_last(shares)}; "
        f"{_percent(worst)} in the worst response."
    )
    advice = (
        "Read the worst responses of a step: loops call for a lower learning rate or an earlier checkpoint."
    )
    return _rising(fmean(shares), thresholds.repetition, "share of n-grams", reading, advice)


def hesitation(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Has the rate of hesitation words changed since the start of the run?"""
    rates = _series(steps, "egrsd/hesitation_rate")
    if not rates:
        return None
    start, now, window = _ends(rates, thresholds.window)
    change = (now - start) / max(start, thresholds.hesitation_least)
    reading = f"{now:.2f} hesitation words per 100 words, against {start:.2f} in the first {_steps(window)}."
    fewer = (
        "The student stops checking itself. Compare the accuracy on hard problems under a long budget, and "
        "how much the gate lowers the weight of such words (cl_egrsd, a larger gamma)."
    )
    more = "The student doubts more and more. Check length, truncation and repetition."
    advice = fewer if change < 0 else more
    return _finding(change, abs(change), thresholds.hesitation_drift, "relative change", reading, advice)


def factor_check(check: HealthCheck, steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Check a metric that a factor or the divergence of the method names."""
    values = _series(steps, f"egrsd/{check.metric}")[-thresholds.window :]
    if not values:
        return None
    value, (warn, fail) = fmean(values), thresholds.of_factor(check)
    reading = check.reading.format(value=value, percent=_percent(value), steps=_last(values))
    last = math.inf if fail is None else fail
    falling = warn > last
    compared, limits = (-value, (-warn, -last)) if falling else (value, (warn, last))
    return _finding(value, compared, limits, check.unit, reading, check.advice)


def weight_mass(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """How large is the update, relative to that of the advantage alone?"""
    weights = _series(steps, "egrsd/weight/mean")[-thresholds.window :]
    if not weights:
        return None
    weight, (warn, fail) = fmean(weights), thresholds.weight
    reading = (
        f"The factors leave {_percent(weight)} of the update of the advantage alone, in {_last(weights)}."
    )
    advice = (
        "The update is smaller, whichever tokens the factors choose. Compare with "
        "algorithm.egrsd.gate_control=mean_preserving before you credit the gate."
    )
    # A smaller value is worse, so both sides of the comparison change sign.
    return _finding(weight, -weight, (-warn, -fail), "weight", reading, advice)


def gradient_norm(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Does the gradient jump, vanish, or break?"""
    norms = _series(steps, "actor/grad_norm") or _series(steps, "train/grad_norm")
    if not norms:
        return None
    unit, window = "times the median", norms[-thresholds.window :]
    broken = sum(not math.isfinite(norm) for norm in window)
    if broken:
        reading = f"{broken} of {_last(window)} had no finite gradient norm."
        advice = "verl skipped those updates. Lower the learning rate, and check the loss and the log-probs."
        return Finding(math.inf, unit, "fail", reading, advice)
    middle = median(norm for norm in norms if math.isfinite(norm))
    if middle == 0:
        reading = "The gradient norm is 0 in at least half of the steps."
        advice = "Nothing is learned there: check whether all answers get the same reward (egrsd/reward/std)."
        return Finding(0.0, unit, "fail", reading, advice)
    reading = (
        f"The largest gradient norm of {_last(window)} is {max(window):.3g}, {max(window) / middle:.1f} "
        f"times the median of the run ({middle:.3g})."
    )
    advice = (
        "Check the credit of that step (egrsd/credit/abs_mean: few rewards may have differed so far); "
        "lower actor.optim.clip_grad or the learning rate if it goes on."
    )
    return _rising(max(window) / middle, thresholds.gradient_spike, unit, reading, advice)


def all_wrong_steps(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Are there steps without a single right answer?"""
    flags = _series(steps, "egrsd/verdict/none_correct")[-thresholds.window :]
    if not flags:
        return None
    reading = f"{sum(flags):.0f} of {_last(flags)} had no right answer."
    advice = (
        "Such a step teaches little. See the reasons under egrsd/verdict: format, cap, verifier, or problems "
        "that are too hard; more prompts per step help with the last."
    )
    return _rising(fmean(flags), thresholds.all_wrong, "share of steps", reading, advice)


def verifier_failures(steps: Sequence[Metrics], thresholds: Thresholds) -> Finding | None:
    """Does the verifier fail, by its time limit or by an error? Such answers count as wrong."""
    timeouts, errors = (
        _series(steps, f"egrsd/verdict/{reason}")[-thresholds.window :] for reason in ("timeout", "error")
    )
    if not timeouts or not errors:
        return None
    share = fmean(timeouts) + fmean(errors)
    reading = (
        f"The verifier failed on {_percent(share)} of the answers in {_last(timeouts)}: "
        f"{_percent(fmean(timeouts))} by its time limit, {_percent(fmean(errors))} by an error."
    )
    advice = (
        "Right answers are punished. Raise the time limit "
        "(+reward.custom_reward_function.reward_kwargs.time_limit), give the reward workers more processor "
        "time, or find out what the failing answers have in common."
    )
    return _rising(share, thresholds.verifier_failures, "share of answers", reading, advice)


CHECKS: dict[str, Callable[[Sequence[Metrics], Thresholds], Finding | None]] = {
    "accuracy": accuracy,
    "verifier failures": verifier_failures,
    "length drift": length_drift,
    "truncation": truncation,
    "repetition": repetition,
    "hesitation rate": hesitation,
    "weight mass": weight_mass,
    "gradient norm": gradient_norm,
    "all-wrong steps": all_wrong_steps,
}
"""The checks of every run, in the order of the report; the checks of the factors follow."""


def all_checks(
    own: Collection[str] | None = None,
) -> dict[str, Callable[[Sequence[Metrics], Thresholds], Finding | None]]:
    """Return the checks of every run and of its method's parts, by name; see :func:`examine`."""
    named = (
        check for name, checks in health_checks().items() if own is None or name in own for check in checks
    )
    return CHECKS | {check.name: partial(factor_check, check) for check in named}


def _series(steps: Sequence[Metrics], name: str) -> list[float]:
    return [metrics[name] for metrics in steps if name in metrics]


def _ends(values: Sequence[float], window: int) -> tuple[float, float, int]:
    """Return the means of the first and of the last steps, and how many steps each covers."""
    window = max(1, min(window, len(values) // 2))
    return fmean(values[:window]), fmean(values[-window:]), window


def _rising(value: float, limits: Limits, unit: str, reading: str, advice: str) -> Finding:
    return _finding(value, value, limits, unit, reading, advice)


def _finding(value: float, compared: float, limits: Limits, unit: str, reading: str, advice: str) -> Finding:
    """Return the level of `compared`: a larger value is worse, and a value that is not finite fails."""
    warn, fail = limits
    level: Level = "ok"
    if compared >= fail or not math.isfinite(compared):
        level = "fail"
    elif compared >= warn:
        level = "warn"
    return Finding(value, unit, level, reading, NO_ADVICE if level == "ok" else advice)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _changed(change: float) -> str:
    return f"{_percent(abs(change))} {'fewer' if change < 0 else 'more'}"


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"


def _last(values: Sequence[float]) -> str:
    return "the last step" if len(values) == 1 else f"the last {len(values)} steps"
