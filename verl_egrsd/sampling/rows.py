"""Samples become rows of the training data, and problems get their pass rates."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verl_egrsd.evaluation.problems import problem_id
from verl_egrsd.evaluation.samples import SAMPLES, Sample, read_samples, read_settings
from verl_egrsd.output.files import completed, write_completed
from verl_egrsd.rows import Row
from verl_egrsd.sampling.settings import Filters, is_truncated

SAMPLES_PARQUET, PROBLEMS_PARQUET, COUNTS_FILE = "samples.parquet", "problems.parquet", "sampling.json"
_STALE = ("lengths",)
"""Fields of `extra_info` that describe the solution whose place a sample takes."""


def write_sampled(folder: Path, data: Path, filters: Filters) -> dict[str, Any]:
    """Write the rows of a folder of samples, and return what `sampling.json` says.

    Args:
        folder: as :func:`verl_egrsd.evaluation.run.complete_samples` filled it.
        data: the file that the problems came from.
        filters: which samples become rows.

    Raises:
        ValueError: when no sample is left.
    """
    facts = read_settings(folder)
    by_problem: dict[str, list[Sample]] = defaultdict(list)
    for sample in read_samples(folder / SAMPLES):
        by_problem[sample.problem].append(sample)
    rates = {problem: pass_rate(samples) for problem, samples in by_problem.items()}
    drawn = [sample for samples in by_problem.values() for sample in samples]
    kept, dropped = filters.keep(sorted(drawn, key=lambda sample: sample.key), rates)
    if not kept:
        reasons = ", ".join(f"{name} {number}" for name, number in dropped.items() if number)
        raise ValueError(f"none of {len(drawn)} samples is left (dropped: {reasons}): weaken the filters.")
    sources = {problem_id(row["prompt"]): row for row in pq.read_table(data).to_pylist()}
    thinking = facts["identity"]["settings"]["thinking"]
    low, high = filters.pass_rate
    _write(
        folder / SAMPLES_PARQUET,
        [sample_row(sources[s.problem], s, rates[s.problem], thinking) for s in kept],
    )
    problems = [
        problem_row(row, by_problem[problem])
        for problem, row in sources.items()
        if problem in by_problem and low <= rates[problem] <= high
    ]
    _write(folder / PROBLEMS_PARQUET, problems)
    counts = {
        "model": facts["model"],
        "data": str(data),
        "settings": facts["identity"]["settings"],
        "filters": asdict(filters),
        "samples": {"drawn": len(drawn), "dropped": dropped, "kept": len(kept)},
        "problems": {"drawn": len(by_problem), "kept": len(problems)},
        "pass_rate": sum(rates.values()) / len(rates),
    }
    write_completed(folder / COUNTS_FILE, json.dumps(counts, indent=1) + "\n")
    return counts


def pass_rate(samples: Sequence[Sample]) -> float:
    """Return the share of correct samples."""
    return sum(sample.correct for sample in samples) / len(samples)


def sample_row(row: Row, sample: Sample, rate: float, thinking: bool) -> dict[str, Any]:
    """Return a row whose solution is a sample.

    Args:
        row: of the data that the problem came from.
        sample: its text takes the place of `extra_info.solution`.
        rate: share of correct samples of the problem.
        thinking: thinking flag that the sample was drawn with.
    """
    extra = {key: value for key, value in row["extra_info"].items() if key not in _STALE}
    return {
        **row,
        "extra_info": extra
        | {
            "solution": sample.text,
            "reference_solution": extra.get("solution"),
            "sample": sample.sample,
            "correct": sample.correct,
            "reason": sample.reason,
            "truncated": is_truncated(sample),
            "tokens": sample.tokens,
            "thinking": thinking,
            "pass_rate": rate,
        },
    }


def problem_row(row: Row, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return a row with what its samples say of the problem; the sibling is the shortest correct sample."""
    whole = [sample for sample in samples if sample.correct and not is_truncated(sample)]
    sibling = min(whole, key=lambda sample: (sample.tokens, sample.sample), default=None)
    found: Mapping[str, Any] = {
        "pass_rate": pass_rate(samples),
        "samples": len(samples),
        "sibling": sibling and sibling.text,
    }
    return {**row, "extra_info": {**row["extra_info"], **found}}


def _write(path: Path, rows: Sequence[Row]) -> None:
    with completed(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows)), temporary)
