"""`summary.json`, `summary.md` and the table in the terminal: every metric with its interval."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from verl_egrsd.evaluation.samples import read_settings
from verl_egrsd.evaluation.statistics import REPLICATES, Series, average, bootstrap, interval
from verl_egrsd.evaluation.tables import read_tables
from verl_egrsd.output.files import write_completed
from verl_egrsd.output.intervals import Interval
from verl_egrsd.output.tables import text_table, verbatim_markdown

SUMMARY_SCHEMA = "verl_egrsd.summary/1"
JSON_SUMMARY, MARKDOWN_SUMMARY = "summary.json", "summary.md"
AVERAGE = "average"
Summary = dict[str, Any]


def write_summary(folder: Path, *, seed: int = 0, replicates: int = REPLICATES) -> Summary:
    """Write `summary.json` and `summary.md` of a finished evaluation, and return the content of the former.

    Args:
        folder: folder that `verl-egrsd eval` wrote.
        seed: of the bootstrap.
        replicates: resamples of the bootstrap.

    Raises:
        FileNotFoundError: when the folder was not written by `verl-egrsd eval`.
        ValueError: when samples are missing.
    """
    summary = summarise(folder, seed=seed, replicates=replicates)
    write_completed(folder / MARKDOWN_SUMMARY, markdown(summary))
    write_completed(folder / JSON_SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


def summarise(folder: Path, *, seed: int = 0, replicates: int = REPLICATES) -> Summary:
    """Return the content of `summary.json`; see :func:`write_summary`."""
    facts, tables = read_settings(folder), read_tables(folder)
    found = {name: bootstrap(table, name, seed=seed, replicates=replicates) for name, table in tables.items()}
    return {
        "schema": SUMMARY_SCHEMA,
        "name": facts["name"],
        "model": facts["model"],
        "settings": facts["identity"]["settings"],
        "versions": facts["identity"]["versions"],
        "date": facts["date"],
        "benchmarks": {
            name: {"problems": len(table.ids), "samples": table.samples, **_intervals(found[name])}
            for name, table in tables.items()
        },
        AVERAGE: _intervals(average(found)),
    }


def read_summary(path: Path) -> Summary:
    """Return the content of a `summary.json`.

    Args:
        path: the file, or its folder.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not a summary.
    """
    file = path / JSON_SUMMARY if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: name a folder of a finished `verl-egrsd eval`.")
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{file} is not JSON ({error}): name a {JSON_SUMMARY} of verl-egrsd eval."
        ) from error
    found = summary.get("schema") if isinstance(summary, dict) else None
    if found != SUMMARY_SCHEMA:
        raise ValueError(f"{file} has the schema {found!r}, not {SUMMARY_SCHEMA!r}: name a {JSON_SUMMARY}.")
    return summary


def markdown(summary: Summary) -> str:
    """Return the summary as a page: what was evaluated, accuracy, length."""
    named = {verbatim_markdown(name): row for name, row in summary["benchmarks"].items()}
    rows = {**named, AVERAGE: summary[AVERAGE]}
    k = sorted({int(name[5:]) for row in rows.values() for name in row if name.startswith("pass@")} - {1})
    accuracy = ["avg", *(f"pass@{n}" for n in k), "maj"]
    length = ["length", "length_p50", "length_p90", "length_right", "length_wrong", "truncated", "eff"]
    versions = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
    return "\n".join(
        [
            f"# {verbatim_markdown(summary['name'])}",
            f"\nModel: {verbatim_markdown(summary['model'])}. Date: {verbatim_markdown(summary['date'])}.",
            f"\nSettings: {verbatim_markdown(settings_in_words(summary))}.",
            f"\nVersions: {verbatim_markdown(versions)}.",
            "\nIn brackets: 95 % bootstrap intervals over problems. The average is the unweighted mean.",
            "\n## Accuracy, percent\n",
            _metric_table(rows, ["problems", "samples"], accuracy),
            "\n## Length, tokens\n",
            _metric_table(rows, [], length),
            "\nTruncated: percent of the answers. Eff: percent points of avg per 1,000 tokens.\n",
        ]
    )


def settings_in_words(summary: Mapping[str, Any]) -> str:
    """Return the settings that are set, in one line."""
    return ", ".join(f"{key} {value}" for key, value in summary["settings"].items() if value is not None)


def terminal_table(summary: Summary) -> str:
    """Return the most important metrics as a table for the terminal."""
    rows = {**summary["benchmarks"], AVERAGE: summary[AVERAGE]}
    return _metric_table(rows, ["problems", "samples"], ["avg", "maj", "length", "truncated", "eff"])


def percent(share: float) -> str:
    """Return a share as percent."""
    return f"{100 * share:.1f}"


def whole(tokens: float) -> str:
    """Return a length."""
    return f"{tokens:,.0f}"


def _metric_table(rows: Mapping[str, Mapping[str, Any]], counts: list[str], names: list[str]) -> str:
    """Return one row per benchmark; a missing value is a dash."""
    cells = [
        [
            name,
            *(whole(row[key]) if key in row else "" for key in counts),
            *(Interval(**row[key]).text(_format(key)) if key in row else "-" for key in names),
        ]
        for name, row in rows.items()
    ]
    return text_table(["benchmark", *counts, *map(_title, names)], cells)


def _format(metric: str) -> Callable[[float], str]:
    if metric.startswith("length"):
        return whole
    return "{:.2f}".format if metric == "eff" else percent


def _title(metric: str) -> str:
    return {"avg": "avg@K", "maj": "maj@K", "length": "mean", "eff": "Eff"}.get(
        metric, metric.removeprefix("length_")
    )


def _intervals(found: Mapping[str, Series]) -> dict[str, dict[str, float]]:
    return {name: interval(series)._asdict() for name, series in found.items()}
