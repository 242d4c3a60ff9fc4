"""The problems of a benchmark, from parquet in verl's schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from verl_egrsd.evaluation.privileged import Privileged, privileged_fields
from verl_egrsd.reward import problem_text
from verl_egrsd.rows import GROUND_TRUTH, conversation, structure, text_of
from verl_egrsd.teacher.templates import Template

_COLUMNS = ("prompt", "reward_model", "extra_info")
Benchmarks = dict[str, list["Problem"]]


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        id: SHA-256 of the messages (:func:`problem_id`).
        index: `extra_info.index`, or the number of the row.
        messages: the conversation to answer.
        ground_truth: the right answer.
        text: `extra_info.problem` or `extra_info.question`, which the verifier may use; None if the row has
            neither.
        privileged: the fields of the row that the teacher reads, see :func:`privileged_fields`; None for a
            problem that is answered as the student.
    """

    id: str
    index: int
    messages: list[dict[str, str]]
    ground_truth: str
    text: str | None = None
    privileged: Privileged | None = None


def read_benchmarks(
    paths: Sequence[str | Path],
    only: Sequence[str] = (),
    limit: int | None = None,
    *,
    template: Template | None = None,
) -> Benchmarks:
    """Read benchmarks from files NAME.parquet, or from folders of such files.

    Args:
        paths: files and folders.
        only: names of the benchmarks to take; empty takes all.
        limit: number of problems to take from the start of each; None takes all.
        template: of the teacher's prompt, whose fields every row must have; None for the student's prompt.

    Returns:
        problems by name of the benchmark, in the order of the files; the files of a folder by name.

    Raises:
        FileNotFoundError: when a path is missing, or a folder holds no parquet file.
        ValueError: when two files have one name, a name in `only` is missing, or a row cannot be used.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} is not allowed: it must be at least 1.")
    files = benchmark_files(paths, only)
    return {name: _problems(file, template)[:limit] for name, file in files.items()}


def benchmark_files(paths: Sequence[str | Path], only: Sequence[str] = ()) -> dict[str, Path]:
    """Return the files of benchmarks by name; arguments and errors as :func:`read_benchmarks`."""
    files: dict[str, Path] = {}
    for file in (file for path in paths for file in _parquet_files(Path(path))):
        if file.stem in files:
            raise ValueError(
                f"{files[file.stem]} and {file} are both called {file.stem}: rename one of them."
            )
        files[file.stem] = file
    if missing := set(only) - files.keys():
        raise ValueError(f"no benchmark is called {min(missing)}: those found are {', '.join(files)}.")
    return {name: file for name, file in files.items() if not only or name in only}


def problem_id(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of a conversation: one problem asked with two instructions is two problems."""
    turns = [{"role": message["role"], "content": message["content"]} for message in messages]
    return hashlib.sha256(json.dumps(turns, sort_keys=True).encode()).hexdigest()


def problems_digest(problems: Sequence[Problem]) -> str:
    """Return the SHA-256 of all problems and answers; the order of the problems does not matter."""
    contents = (asdict(problem) for problem in problems)
    return _digest({key: value for key, value in one.items() if key != "privileged"} for one in contents)


def privileged_digest(problems: Sequence[Problem]) -> str:
    """Return the SHA-256 of what the teacher reads beside the problems; their order does not matter."""
    return _digest({"id": problem.id, "privileged": problem.privileged} for problem in problems)


def _digest(contents: Iterable[Mapping[str, Any]]) -> str:
    lines = sorted(json.dumps(one, sort_keys=True) for one in contents)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _parquet_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{path} is neither a parquet file nor a folder of parquet files: see docs/data.md."
        )
    return files


def _problems(file: Path, template: Template | None) -> list[Problem]:
    table = pq.read_table(file)
    if missing := set(_COLUMNS) - set(table.column_names):
        raise ValueError(
            f"{file} has no column {min(missing)}: it needs {', '.join(_COLUMNS)} (docs/data.md)."
        )
    read = table.select(_COLUMNS).to_pylist()
    problems = list(_of_rows(file, read))
    if not problems:
        raise ValueError(f"{file} has no rows: prepare it again.")
    if template is not None:
        shown = privileged_fields(read, template, str(file))
        problems = [replace(one, privileged=fields) for one, fields in zip(problems, shown, strict=True)]
    rows: dict[str, int] = {}
    for row, problem in enumerate(problems):
        first = rows.setdefault(problem.id, row)
        if first != row:
            raise ValueError(f"rows {first} and {row} of {file} are the same problem: remove one of them.")
    return problems


def _of_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    for number, row in enumerate(rows):
        name = f"row {number} of {file}"
        messages, truth = row["prompt"], structure(row, "reward_model", name).get("ground_truth")
        if not messages or truth is None or not str(truth).strip():
            empty = "reward_model.ground_truth" if messages else "prompt"
            raise ValueError(f"{name} has an empty {empty}: fill it, or drop the row.")
        extra = structure(row, "extra_info", name)
        index = extra.get("index")
        yield Problem(
            id=problem_id(conversation(row, "prompt", name)),
            index=number if index is None else index,
            messages=messages,
            ground_truth=text_of(row, GROUND_TRUTH, name),
            text=problem_text(extra),
        )
