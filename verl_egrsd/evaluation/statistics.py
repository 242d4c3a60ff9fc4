"""The metrics of a benchmark and their intervals, by a bootstrap over problems.

Every metric is a function of weights on the problems. With weight 1 on each it is the metric itself; with
the counts of a resample with replacement it is one replicate. A `Series` holds both: the value first, then
the replicates. Differences and means of series are series again, so every interval is read off one array.
Problems are resampled, not samples: the K samples of a problem are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import comb
from typing import TypeVar

import numpy as np

from verl_egrsd.evaluation.tables import Floats, Table
from verl_egrsd.output.intervals import Interval

_Numbers = TypeVar("_Numbers", float, Floats)

Series = Floats
"""Shape (1 + R): the value, then R replicates."""

REPLICATES = 4_000
CHUNK = 250
"""Replicates that are computed at once; limits memory to this number times the samples of a benchmark."""
CONFIDENCE = 0.95
POINTS_PER_SHARE, TOKENS_PER_UNIT = 100, 1000
"""Eff is measured in percent points per 1,000 tokens."""
_QUANTILES = {"length_p50": 50, "length_p90": 90}
"""Metrics that are quantiles of the length, in percent."""


def bootstrap(
    table: Table, benchmark: str, *, seed: int = 0, replicates: int = REPLICATES
) -> dict[str, Series]:
    """Return every metric of a benchmark that has a value.

    Two tables with the same problems get the same resamples, so that their difference is a paired one.

    Args:
        table: the samples.
        benchmark: its name; benchmarks are resampled independently of each other.
        seed: seed of the resamples.
        replicates: number of resamples.

    Returns:
        series by name: `avg`, `pass@k`, `maj`, `length`, `length_p50`, `length_p90`, `length_right`,
        `length_wrong`, `truncated`, `eff`. Shares are 0 to 1, lengths are tokens, `eff` is percent points per
        1,000 tokens. A replicate without a value is NaN (no wrong answer: no `length_wrong`).
    """
    parts = [metrics(table, weights) for weights in _weights(len(table.ids), benchmark, seed, replicates)]
    series = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: values for name, values in series.items() if not np.isnan(values[0])}


def metrics(table: Table, weights: Floats) -> dict[str, Floats]:
    """Return the metrics for each row of weights on the problems.

    Args:
        table: the samples of P problems.
        weights: (R, P), whole numbers, each row with a positive sum.

    Returns:
        arrays (R) by name, see :func:`bootstrap`.
    """
    right, tokens = table.correct.sum(axis=1), table.tokens.sum(axis=1)
    right_tokens = (table.tokens * table.correct).sum(axis=1)
    problem = np.ones_like(right)
    every = table.samples * problem
    # Sums of whole numbers are exact, so that equal accuracies are equal also after resampling.
    ratios = {"avg": (right, every)}
    for k in powers_of_two(table.samples):
        chances = [pass_at_k(table.samples, c, k) for c in range(table.samples + 1)]
        ratios[f"pass@{k}"] = (np.array(chances)[right.astype(int)], problem)
    ratios |= {
        "maj": (table.majority, problem),
        "length": (tokens, every),
        "length_right": (right_tokens, right),
        "length_wrong": (tokens - right_tokens, every - right),
        "truncated": (table.truncated.sum(axis=1), every),
    }
    found = dict(zip(ratios, _ratios(weights, list(ratios.values())), strict=True))
    found |= _quantiles(weights, table.tokens)
    return found | {"eff": efficiency(found["avg"], found["length"])}


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the chance that k samples drawn without replacement hold a right one: 1 - C(n - c, k) / C(n, k).

    This is the unbiased estimate of pass@k from n samples, c of them right.
    """
    return 1 - comb(samples - right, k) / comb(samples, k)


def powers_of_two(limit: int) -> list[int]:
    """Return 1, 2, 4, ... up to a limit."""
    return [2**i for i in range(limit.bit_length())]


def efficiency(accuracy: _Numbers, length: _Numbers) -> _Numbers:
    """Return Eff = 100 accuracy / (length / 1000), in percent points per 1,000 tokens.

    Args:
        accuracy: share in [0, 1], or an array of shares.
        length: tokens, positive.
    """
    return POINTS_PER_SHARE * accuracy / (length / TOKENS_PER_UNIT)


def average(benchmarks: Mapping[str, Mapping[str, Series]]) -> dict[str, Series]:
    """Return the unweighted mean over benchmarks of each metric that all of them have; `eff` of the means."""
    first, *others = benchmarks.values()
    shared = [name for name in first if all(name in other for other in others)]
    means = {name: np.mean([found[name] for found in benchmarks.values()], axis=0) for name in shared}
    return means | {"eff": efficiency(means["avg"], means["length"])}


def interval(series: Series) -> Interval:
    """Return the percentile interval, extended to the value if it lies outside."""
    value = float(series[0])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(series[1:], (tail, 1 - tail))
    return Interval(value, min(float(low), value), max(float(high), value))


def _weights(problems: int, benchmark: str, seed: int, replicates: int) -> Iterator[Floats]:
    """Yield weight 1 on each problem, then the counts of resamples with replacement."""
    yield np.ones((1, problems))
    rng = np.random.default_rng([seed, *benchmark.encode()])
    for start in range(0, replicates, CHUNK):
        size = min(CHUNK, replicates - start)
        yield rng.multinomial(problems, np.full(problems, 1 / problems), size).astype(np.float64)


def _ratios(weights: Floats, parts: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return, for each pair (amounts, counts), the ratio of the weighted sums; NaN for a sum of 0."""
    amounts, counts = (np.stack(columns, axis=1) for columns in zip(*parts, strict=True))
    with np.errstate(invalid="ignore"):
        return ((weights @ amounts) / (weights @ counts)).T


def _quantiles(weights: Floats, tokens: Floats) -> dict[str, Floats]:
    """Return the smallest lengths that a percentage of the samples do not exceed."""
    order = np.argsort(tokens, axis=None, kind="stable")
    # Integers are faster, and 0.9 times a count could round up past it.
    counts = np.take(weights.astype(np.int64), order // tokens.shape[1], axis=1)
    below = 100 * np.cumsum(counts, axis=1)
    lengths = tokens.ravel()[order]
    return {
        name: lengths[(below >= percent * counts.sum(axis=1, keepdims=True)).argmax(axis=1)]
        for name, percent in _QUANTILES.items()
    }
