"""Evaluations beside the published results of the same model, benchmark by benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from verl_egrsd.evaluation.settings import PRESETS
from verl_egrsd.output.intervals import Interval
from verl_egrsd.output.tables import text_table, verbatim_markdown

PUBLISHED_MODELS = ("qwen3_4b", "qwen3_8b")
LENGTH = "tokens, average"
"""The row of the lengths; the paper gives their average over the benchmarks only."""
_NOT_COMPARED = {"samples", "samples_of", "seed", "dtype"}
"""Settings that change how precise an accuracy is, or nothing; differences in the others are listed."""
Beside = dict[str, Any]


@cache
def published_results() -> dict[str, Any]:
    """Return the content of `published.json`."""
    text = files("verl_egrsd.evaluation").joinpath("published.json").read_text(encoding="utf-8")
    return json.loads(text)


def published_problems() -> dict[str, int]:
    """Return the number of problems of each benchmark of the published averages, by this package's names."""
    return {name: facts["problems"] for name, facts in published_results()["benchmarks"].items()}


def beside_published(summaries: Sequence[Mapping[str, Any]], model: str) -> Beside:
    """Return the results of evaluations and the published ones of a model.

    Args:
        summaries: contents of `summary.json`, over the same benchmarks.
        model: one of `PUBLISHED_MODELS`.

    Returns:
        `model` (its title), `source`, `protocol`; `rows`, for each benchmark and the averages `average` and
        `LENGTH` with `problems`, `measured` (an interval by the name of the evaluation) and `published` (a
        number by method, shares and tokens; empty where the problems are not the paper's); `notes`, why the
        two cannot be compared.

    Raises:
        ValueError: when the evaluations cover different problems, or none of the paper's benchmarks.
    """
    results, wanted = published_results(), published_problems()
    sizes = [{name: facts["problems"] for name, facts in s["benchmarks"].items()} for s in summaries]
    found = sizes[0]
    for summary, others in zip(summaries, sizes, strict=True):
        if others != found:
            raise ValueError(
                f"{summaries[0]['name']} covers {_listed(found)}, but {summary['name']} covers "
                f"{_listed(others)}: evaluate both on the same problems."
            )
    shared = {name for name, problems in found.items() if wanted.get(name) == problems}
    if not shared:
        raise ValueError(
            f"{summaries[0]['name']} covers {_listed(found)}, but published are {_listed(wanted)}: none can "
            "be compared. Leave --published out, or evaluate on the paper's benchmarks."
        )
    published = results["models"][model]["rows"]
    titles = {name: facts["title"] for name, facts in results["benchmarks"].items()}
    rows = [
        _row(name, problems, [s["benchmarks"][name]["avg"] for s in summaries], summaries)
        | {"published": _cells(published, titles[name], 100) if name in shared else {}}
        for name, problems in found.items()
    ]
    whole = found == wanted
    for title, metric, key, scale in (("average", "avg", "avg", 100), (LENGTH, "length", "length", 1)):
        cells = _cells(published, key, scale) if whole else {}
        averages = [summary["average"][metric] for summary in summaries]
        rows.append(_row(title, sum(found.values()), averages, summaries) | {"published": cells})
    notes = (
        []
        if whole
        else [f"Published are {_listed(wanted)}: other benchmarks and averages have no published value."]
    )
    return {
        "model": results["models"][model]["title"],
        "source": results["source"],
        "protocol": results["protocol"],
        "rows": rows,
        "notes": [*notes, *(note for summary in summaries for note in _other_settings(summary))],
    }


def beside_markdown(beside: Beside) -> str:
    """Return the results as a table, measured accuracies in percent with their intervals."""
    measured, published = (
        list(dict.fromkeys(name for row in beside["rows"] for name in row[side]))
        for side in ("measured", "published")
    )
    rows = [
        [
            verbatim_markdown(row["name"]),
            f"{row['problems']:,}",
            *(table_cell(row, Interval(**row["measured"][name])) for name in measured),
            *(table_cell(row, row["published"].get(name)) for name in published),
        ]
        for row in beside["rows"]
    ]
    named = [verbatim_markdown(f"{name}, measured") for name in measured]
    head = ["benchmark", "problems", *named, *published]
    source = f"avg@K, percent. Published for {beside['model']} ({beside['source']}): {beside['protocol']}."
    return "\n".join([text_table(head, rows), "", source, *map(verbatim_markdown, beside["notes"])])


def table_cell(row: Mapping[str, Any], value: Interval | float | None) -> str:
    """Return a cell of a row: percent, or tokens; a dash where nothing was published."""
    if value is None:
        return "-"
    show = "{:,.0f}".format if row["name"] == LENGTH else lambda share: f"{100 * share:.1f}"
    return value.text(show) if isinstance(value, Interval) else show(value)


def _row(
    name: str, problems: int, values: Sequence[Any], summaries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    names = [str(summary["name"]) for summary in summaries]
    return {"name": name, "problems": problems, "measured": dict(zip(names, values, strict=True))}


def _cells(published: Sequence[Mapping[str, Any]], key: str, scale: float) -> dict[str, float]:
    return {row["method"]: row[key] / scale for row in published}


def _listed(problems: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,} problems)" for name, count in problems.items())


def _other_settings(summary: Mapping[str, Any]) -> list[str]:
    """Say in which settings an evaluation is not the paper's protocol."""
    paper = {key: value for key, value in asdict(PRESETS["paper"]).items() if key not in _NOT_COMPARED}
    return [
        f"Not the paper's protocol: {key} is {summary['settings'].get(key)!r} for {summary['name']}, "
        f"{value!r} in the paper."
        for key, value in paper.items()
        if summary["settings"].get(key) != value
    ]
