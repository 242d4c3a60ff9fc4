"""The data card: what went in, what came out, what was left out and why, as JSON, Markdown and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from data_prep.options import Options
from data_prep.rows import Lengths
from data_prep.similarity import Match
from data_prep.stages import Stage
from verl_egrsd.output.files import completed, file_digest, write_completed
from verl_egrsd.output.tables import text_table, verbatim_markdown

_PACKAGES = (
    *("verl_egrsd", "datasets", "datasketch", "math-verify", "numpy", "pyarrow", "sympy", "tokenizers"),
    "transformers",
)
"""What the files depend on."""
WITHOUT_EFFECT = ("out", "workers", "benchmarks")
"""Options that do not change the files, or that the card describes in another place."""
JSON_CARD, MARKDOWN_CARD, PICTURE = "data_card.json", "data_card.md", "lengths.png"
SIDES: tuple[Literal["student", "teacher"], ...] = ("student", "teacher")
EXAMPLES = 20
"""Matched pairs of each kind in the Markdown card; the JSON card lists all."""
NAMES = 8
"""Files or columns that are listed by name in a line of text."""
_QUANTILES = (0.0, 0.5, 0.9, 0.99, 1.0)
BINS = 60


@dataclass(frozen=True)
class Card:
    """What is known about a prepared data set.

    Attributes:
        schema: name of the source's schema.
        reading: which files of the source were read, see :func:`data_prep.sources.describe`.
        stages: their accounts, in order.
        notes: warnings for the reader.
        control_tokens: rows by control token, for each place in the row.
        duplicates: rows dropped as duplicates, beside the rows that they match.
        contaminated: rows dropped for matching a benchmark's problem, beside that problem.
        benchmarks: problems per benchmark.
        lengths: lengths of the two prompts of each measured row.
        limits: the longest allowed prompts.
    """

    schema: str
    reading: Mapping[str, Any]
    stages: Sequence[Stage]
    notes: Sequence[str]
    control_tokens: Mapping[str, Mapping[str, int]]
    duplicates: Sequence[Match]
    contaminated: Sequence[Match]
    benchmarks: Mapping[str, int]
    lengths: Sequence[Lengths]
    limits: Lengths


def write_card(card: Card, options: Options, parquet: Sequence[Path]) -> None:
    """Write lengths.png, data_card.md and, last of all, data_card.json beside the parquet files."""
    with completed(options.out / PICTURE) as path:
        _picture(card).savefig(path, format="png", dpi=120, metadata={"Software": None})
    facts = _facts(card, options, [*parquet, options.out / PICTURE])
    write_completed(options.out / MARKDOWN_CARD, _markdown(card, facts))
    facts["files"][MARKDOWN_CARD] = _file(options.out / MARKDOWN_CARD)
    write_completed(options.out / JSON_CARD, json.dumps(facts, ensure_ascii=False, indent=1))


def stage_table(stages: Sequence[Stage]) -> str:
    """Return the stages as a Markdown table: rows in, rows out, reasons of drops and notes."""
    rows = [
        (
            *(stage.name, verbatim_markdown(str(stage.setting)), f"{stage.rows_in:,}", f"{stage.rows_out:,}"),
            *(_counts(stage.dropped), _counts(stage.noted)),
        )
        for stage in stages
    ]
    return text_table(("stage", "choice", "in", "out", "dropped", "noted"), rows, "llrrll")


def reading_line(reading: Mapping[str, Any]) -> str:
    """Return the files and columns that were read and that were not, at most :data:`NAMES` of each."""
    found = f"the hub's {reading['hub']}" if "hub" in reading else _named(reading["files"])
    left_out = f"; left out: {_named(reading['left_out'])}" if reading.get("left_out") else ""
    unread = f"; not read: {_named(reading['columns_left_out'])}" if reading["columns_left_out"] else ""
    return (
        f"Read: {found} (configuration {reading['configuration']}, split {reading['split']}){left_out}. "
        f"Columns: {_named(reading['columns'])}{unread}."
    )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES:,} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more


def _counts(counts: Mapping[str, int]) -> str:
    return verbatim_markdown("; ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items())))


def _facts(card: Card, options: Options, files: Sequence[Path]) -> dict[str, Any]:
    names = [field.name for field in fields(options) if field.name not in WITHOUT_EFFECT]
    return {
        "schema": card.schema,
        "source": dict(card.reading),
        "options": {name: getattr(options, name) for name in names},
        "seed": options.seed,
        "notes": list(card.notes),
        "stages": [_account(stage) for stage in card.stages],
        "control_tokens": dict(card.control_tokens),
        "benchmarks": dict(card.benchmarks),
        "lengths": _length_facts(card),
        "versions": {"python": python_version(), **{name: version(name) for name in _PACKAGES}},
        "files": {path.name: _file(path) for path in files},
        "matches": {
            "duplicates": [match._asdict() for match in card.duplicates],
            "contaminated": [match._asdict() for match in card.contaminated],
        },
    }


def _account(stage: Stage) -> dict[str, Any]:
    # The times are left out: they differ from run to run, and the card must not.
    return {
        "stage": stage.name,
        "choice": stage.setting,
        "in": stage.rows_in,
        "out": stage.rows_out,
        "dropped": dict(sorted(stage.dropped.items())),
        "noted": dict(sorted(stage.noted.items())),
        "first_dropped": dict(sorted(stage.examples.items())),
    }


def _length_facts(card: Card) -> dict[str, Any]:
    facts: dict[str, Any] = {"unit": card.limits["unit"], "measured": len(card.lengths)}
    for side in SIDES:
        values = [lengths[side] for lengths in card.lengths]
        found = np.quantile(values, _QUANTILES).round().astype(int).tolist() if values else []
        facts[side] = {f"p{100 * q:g}": value for q, value in zip(_QUANTILES, found, strict=False)}
        facts[side]["limit"] = card.limits[side]
    return facts


def _file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _picture(card: Card) -> Figure:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, side in zip(figure.subplots(1, 2), SIDES, strict=True):
        limit = card.limits[side]
        axes.hist([lengths[side] for lengths in card.lengths], bins=BINS, color="tab:blue")
        axes.axvline(limit, color="tab:red", label=f"limit {limit:,}")
        axes.set(title=f"{side}'s prompt", xlabel=card.limits["unit"], ylabel="rows")
        axes.legend()
    return figure


def _markdown(card: Card, facts: Mapping[str, Any]) -> str:
    notes = [f"- **{verbatim_markdown(note)}**" for note in card.notes] or ["- none"]
    files = [(name, f"{f['bytes']:,}", f["sha256"]) for name, f in facts["files"].items()]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    sides = SIDES if card.lengths else ()
    lengths = [(side, *(f"{value:,}" for value in facts["lengths"][side].values())) for side in sides]
    head = (f"prompt ({facts['lengths']['unit']})", *(f"p{100 * q:g}" for q in _QUANTILES), "limit")
    return "\n".join(
        [
            f"# Data card of {verbatim_markdown(facts['options']['source'])}",
            f"\n{verbatim_markdown(reading_line(card.reading))}",
            f"\nSchema: {card.schema}. Seed: {facts['seed']}. Versions: {versions}.",
            "\n## Notes\n",
            *notes,
            "\n## Stages\n",
            stage_table(card.stages),
            "\n## Lengths of the prompts\n",
            text_table(head, lengths),
            f"\n![lengths of the prompts]({PICTURE})",
            "\n## Files\n",
            text_table(("file", "bytes", "SHA-256"), files, "lrl"),
            "\n## Choices\n",
            "```json",
            json.dumps(facts["options"], indent=1),
            "```",
            *_pairs("Duplicates", card.duplicates),
            *_pairs("Matches with the benchmarks", card.contaminated),
            "",
        ]
    )


def _pairs(title: str, matches: Sequence[Match]) -> list[str]:
    """Return the first pairs of each kind side by side, with the texts as code blocks."""
    lines = [f"\n## {title}: {len(matches):,}", f"\nAll are listed in {JSON_CARD}."]
    for kind in sorted({match.kind for match in matches}):
        of_kind = [match for match in matches if match.kind == kind]
        lines.append(f"\n### {kind}: {len(of_kind):,}")
        for match in of_kind[:EXAMPLES]:
            answers = verbatim_markdown(match.answer), verbatim_markdown(match.match_answer)
            lines.append(f"\nRow {match.row} (answer {answers[0]}), similarity {match.similarity:.2f}:")
            lines.append(_indented(match.problem))
            lines.append(f"\n{verbatim_markdown(match.match)} (answer {answers[1]}):")
            lines.append(_indented(match.match_problem))
    return lines


def _indented(text: str) -> str:
    return "\n" + "\n".join(f"    {line}" for line in text.splitlines())
