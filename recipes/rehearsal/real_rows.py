"""Real problems as rows in verl's schema, for rehearsals with the real Qwen3 tokenizer.

Three forms are read: JSON lines with problem, solution and answer (MATH-500); JSON lines with question and an
answer that ends in `#### x` (GSM8K); and parquet files that are in verl's schema already. A few short word
problems of this form come with the checkout.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from importlib.resources import as_file, files
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd

from verl_egrsd.rows import ANSWER_INSTRUCTION

COLUMNS = ("data_source", "prompt", "ability", "reward_model", "extra_info")
VALIDATION_SHARE = 4
"""At most one row in this many goes to the validation split."""

Row = dict[str, Any]


def read_rows(paths: Iterable[str | Path]) -> list[Row]:
    """Return the rows of all files in order; of the word problems in the package when there are no files.

    Raises:
        ValueError: for a file of another form, naming file and fields.
    """
    given = [Path(path) for path in paths]
    if given:
        return [row for path in given for row in _read(path)]
    with as_file(files("recipes.rehearsal").joinpath("word_problems.jsonl")) as path:
        return list(_read(path))


def split_rows(rows: list[Row], train: int, validation: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Return `train` and at most `validation` rows without a common problem.

    Too few rows for training are repeated in turn, so that a batch of any size can be filled.

    Raises:
        ValueError: when there are fewer than two rows.
    """
    if len(rows) < 2:
        raise ValueError(
            f"--data has {len(rows)} rows: at least 2 are needed, one to train and one to validate."
        )
    distinct = list({_question(row): row for row in rows}.values())
    random.Random(f"{seed}/rows").shuffle(distinct)
    held_out = min(validation, max(1, len(distinct) // VALIDATION_SHARE))
    return (
        [
            _numbered(row, index, "train")
            for index, row in enumerate(islice(cycle(distinct[held_out:]), train))
        ],
        [_numbered(row, index, "validation") for index, row in enumerate(distinct[:held_out])],
    )


def _read(path: Path) -> Iterator[Row]:
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
    elif path.suffix == ".jsonl":
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                yield _to_row(json.loads(line), path, number)
    else:
        raise ValueError(f"--data {path}: ending {path.suffix!r} is unknown; give a .jsonl or .parquet file.")


def _read_parquet(path: Path) -> Iterator[Row]:
    table = pd.read_parquet(path)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ValueError(f"--data {path} lacks the columns {missing}: write it in verl's schema {COLUMNS}.")
    for row in table[list(COLUMNS)].to_dict("records"):
        yield {str(key): value for key, value in row.items()} | {
            "prompt": [dict(turn) for turn in row["prompt"]]
        }


def _to_row(record: Row, path: Path, number: int) -> Row:
    if {"problem", "solution", "answer"} <= record.keys():
        problem, solution, answer = record["problem"], record["solution"], str(record["answer"])
    elif {"question", "answer"} <= record.keys() and "####" in record["answer"]:
        problem = record["question"]
        # GSM8K's calculator marks, <<6*8=48>>, are not part of the text.
        solution, _, answer = re.sub(r"<<[^>]*>>", "", record["answer"]).rpartition("####")
        solution, answer = solution.strip(), answer.strip().replace(",", "")
    else:
        raise ValueError(
            f"--data {path}, line {number}: fields {sorted(record)} have an unknown form; give problem, "
            "solution and answer, or question and an answer that ends in '#### x'."
        )
    return {
        "data_source": f"rehearsal/{path.stem}",
        "prompt": [{"role": "user", "content": f"{problem}\n\n{ANSWER_INSTRUCTION}"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"problem": problem, "solution": solution, "answer": answer},
    }


def _numbered(row: Row, index: int, split: str) -> Row:
    return row | {"extra_info": {**row["extra_info"], "index": index, "split": split}}


def _question(row: Row) -> str:
    return str(row["prompt"][-1]["content"])
