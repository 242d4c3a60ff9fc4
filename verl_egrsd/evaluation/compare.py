"""Two evaluations side by side: paired differences of accuracy and length, and whether one dominates.

Both are resampled with the same problems, so that the difficulty of a problem cancels out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from verl_egrsd.config import flat
from verl_egrsd.evaluation.samples import read_settings
from verl_egrsd.evaluation.statistics import (
    CONFIDENCE,
    REPLICATES,
    Series,
    average,
    bootstrap,
    interval,
)
from verl_egrsd.evaluation.summary import AVERAGE, percent, whole
from verl_egrsd.evaluation.tables import Table, read_tables
from verl_egrsd.output.intervals import Interval
from verl_egrsd.output.tables import text_table, verbatim_markdown

METRICS = {"accuracy": "avg", "length": "length"}
"""The metrics that are compared, by their names in a comparison."""
_NEWER = {"settings.template": None, "settings.template_text": None}
"""Settings that evaluations of version 0.1 do not name."""
Tables = Mapping[str, Table]
Comparison = dict[str, Any]


def compare(
    a: Path, b: Path, *, common: bool = False, seed: int = 0, replicates: int = REPLICATES
) -> Comparison:
    """Compare two evaluations.

    Args:
        a: folder that `verl-egrsd eval` wrote.
        b: another one; differences are a minus b.
        common: compare the problems that both have; otherwise a problem that only one has is an error.
        seed: of the bootstrap.
        replicates: resamples of the bootstrap.

    Returns:
        `a`, `b` (names), `settings` (those that differ), `benchmarks` (by name: `problems`, and `accuracy`
        and `length` with `a`, `b` and `difference`, each an interval), `average`, `dominates` (shares of the
        resamples in which `a`, or `b`, is at least as accurate, at most as long, and not equal in both), and
        `sentence`.

    Raises:
        FileNotFoundError: when a folder was not written by `verl-egrsd eval`.
        ValueError: when samples are missing, or the problems differ and `common` is not set.
    """
    facts, tables = [read_settings(folder) for folder in (a, b)], [read_tables(folder) for folder in (a, b)]
    names = [str(found["name"]) for found in facts]
    if names[0] == names[1]:
        names = [str(a), str(b)]
    pairs = match_problems(tables[0], tables[1], names, common=common)
    series = [
        {name: bootstrap(pair[side], name, seed=seed, replicates=replicates) for name, pair in pairs.items()}
        for side in (0, 1)
    ]
    problems = {name: len(pair[0].ids) for name, pair in pairs.items()}
    return {"settings": _differing(facts[0], facts[1]), **compare_series(names, series, problems)}


def compare_series(
    names: Sequence[str], series: Sequence[Mapping[str, Mapping[str, Series]]], problems: Mapping[str, int]
) -> Comparison:
    """Compare the metrics of two models, which were resampled with the same problems.

    Args:
        names: of the two.
        series: metrics by benchmark of each, as :func:`bootstrap` returns them.
        problems: number of problems by benchmark.

    Returns:
        The comparison without `settings`, see :func:`compare`.
    """
    means = [average(found) for found in series]
    comparison: Comparison = {
        "a": names[0],
        "b": names[1],
        "benchmarks": {
            name: {"problems": problems[name], **_differences(series[0][name], series[1][name])}
            for name in problems
        },
        AVERAGE: {"problems": sum(problems.values()), **_differences(means[0], means[1])},
        "dominates": {"a": dominance(means[0], means[1]), "b": dominance(means[1], means[0])},
    }
    return comparison | {"sentence": sentence(comparison)}


def match_problems(a: Tables, b: Tables, names: list[str], *, common: bool) -> dict[str, tuple[Table, Table]]:
    """Return the two tables of each benchmark with the same problems in both.

    Raises:
        ValueError: when only one side has a benchmark or a problem and `common` is not set, or when they
            share no problem.
    """
    pairs: dict[str, tuple[Table, Table]] = {}
    for benchmark in dict.fromkeys([*a, *b]):
        ids = [set(side[benchmark].ids) if benchmark in side else set() for side in (a, b)]
        for lacking, having in ((0, 1), (1, 0)):
            if (missing := ids[having] - ids[lacking]) and not common:
                raise ValueError(
                    f"{names[lacking]} lacks {len(missing)} problems of {benchmark} that {names[having]} "
                    "has: evaluate both on the same problems, or compare those that both have with --common."
                )
        if shared := ids[0] & ids[1]:
            pairs[benchmark] = (a[benchmark].select(shared), b[benchmark].select(shared))
    if not pairs:
        raise ValueError(f"{names[0]} and {names[1]} have no problem in common: there is nothing to compare.")
    return pairs


def dominance(a: Mapping[str, Series], b: Mapping[str, Series]) -> float:
    """Return the share of the resamples in which a dominates b: no worse in both metrics, better in one."""
    accuracy = (a["avg"] - b["avg"])[1:]
    length = (a["length"] - b["length"])[1:]
    return float(np.mean((accuracy >= 0) & (length <= 0) & ((accuracy > 0) | (length < 0))))


def sentence(comparison: Comparison) -> str:
    """Return the finding in words."""
    a, b, means, shares = (comparison[key] for key in ("a", "b", AVERAGE, "dominates"))
    where = f"at {means['problems']:,} problems"
    for winner, loser, share in ((a, b, shares["a"]), (b, a, shares["b"])):
        if share >= CONFIDENCE:
            return (
                f"{winner} dominates {loser} {where}: in {percent(share)} % of the resamples it is at least "
                "as accurate and no longer."
            )
    accuracy = _in_words(means["accuracy"]["difference"], ("less accurate", "more accurate"), points)
    length = _in_words(means["length"]["difference"], ("shorter", "longer"), signed_tokens)
    return f"Neither dominates {where}: {a} is {accuracy} and {length} than {b}."


def comparison_markdown(comparison: Comparison) -> str:
    """Return a comparison as a table, the settings that differ, and the sentence."""
    a, b = (verbatim_markdown(comparison[side]) for side in ("a", "b"))
    rows = [
        [
            verbatim_markdown(name),
            f"{found['problems']:,}",
            *_cells(found["accuracy"], points),
            *_cells(found["length"], signed_tokens),
        ]
        for name, found in {**comparison["benchmarks"], AVERAGE: comparison[AVERAGE]}.items()
    ]
    head = ["benchmark", "problems", f"avg@K % {a}", b, "difference", f"tokens {a}", b, "difference"]
    lines = [text_table(head, rows), ""]
    lines += [
        verbatim_markdown(
            f"Different setting: {key} is {x!r} for {comparison['a']}, {y!r} for {comparison['b']}."
        )
        for key, (x, y) in comparison["settings"].items()
    ]
    return "\n".join([*lines, verbatim_markdown(comparison["sentence"])])


def points(share: float) -> str:
    """Return a difference of shares in percent points."""
    return f"{100 * share:+.1f}"


def signed_tokens(tokens: float) -> str:
    """Return a difference of lengths."""
    return f"{tokens:+,.0f}"


def _differences(a: Mapping[str, Series], b: Mapping[str, Series]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "a": interval(a[metric])._asdict(),
            "b": interval(b[metric])._asdict(),
            "difference": interval(a[metric] - b[metric])._asdict(),
        }
        for name, metric in METRICS.items()
    }


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings that differ, by dotted name, without the model, which is meant to differ."""
    flat_a, flat_b = (_NEWER | flat({**found["identity"], "model": {}}) for found in (a, b))
    shared = [key for key in flat_a if key in flat_b and flat_a[key] != flat_b[key]]
    return {key: [flat_a[key], flat_b[key]] for key in shared}


def _cells(found: Mapping[str, Any], show_difference: Callable[[float], str]) -> list[str]:
    show = percent if show_difference is points else whole
    return [
        show(found["a"]["value"]),
        show(found["b"]["value"]),
        Interval(**found["difference"]).text(show_difference),
    ]


def _in_words(found: Mapping[str, float], words: tuple[str, str], show: Callable[[float], str]) -> str:
    """Return which of two words holds, with the difference, or that neither is clear."""
    difference, (less, more) = Interval(**found), words
    shown = f"({difference.text(show)})"
    if difference.covers_zero:
        return f"not clearly {less} or {more} {shown}"
    return f"{more if difference.value > 0 else less} {shown}"
