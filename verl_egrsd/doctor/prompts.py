"""What student and teacher read of the first training rows, as text and in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from omegaconf import DictConfig

from verl_egrsd.checkpoints.places import local_file
from verl_egrsd.config import TeacherConfig
from verl_egrsd.doctor.lengths import LengthsRead
from verl_egrsd.methods import Method
from verl_egrsd.preflight.reading import VERIFIER, file_list, model_section, plain
from verl_egrsd.rows import GROUND_TRUTH, Row, conversation, row_name, text_of
from verl_egrsd.teacher.attempts import EMPTY_ATTEMPTS
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.marks import SOLUTION
from verl_egrsd.teacher.placebo import with_other_solutions

ROWS_READ = 256
"""Rows whose lengths are measured; training checks all of them before its first step."""


@dataclass(frozen=True)
class Pair:
    """Both prompts of a row.

    Attributes:
        name: of the row.
        student: what the student reads, generation header included.
        teacher: what the teacher may read: first its own prompt, then that without a sibling and the one that
            steers it; empty for a method without a teacher.
        solution: tokens of the reference solution; None if the row has none.
    """

    name: str
    student: str
    teacher: tuple[str, ...]
    solution: int | None


def first_rows(given: Any, number: int = ROWS_READ) -> list[Row]:
    """Return the first rows of the first of some files; none if it is not a parquet file here."""
    files = file_list(given)
    path = Path(files[0]) if files else Path()
    if path.suffix != ".parquet" or not path.is_file():
        return []
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(batch_size=number)
        return [row for batch in islice(batches, 1) for row in batch.to_pylist()][:number]


def load_tokenizer(config: DictConfig) -> Any | None:
    """Return the tokenizer of the run's model; None if it is not on this machine."""
    model = model_section(config)
    name = model.get("tokenizer_path") or model.path
    if local_file(name, "tokenizer_config.json") is None:
        return None
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=bool(model.trust_remote_code))
    if model.get("custom_chat_template"):
        tokenizer.chat_template = model.custom_chat_template
    return tokenizer


def read_pairs(
    config: DictConfig, method: Method, teacher: TeacherConfig, tokenizer: Any, rows: Sequence[Row]
) -> tuple[PrivilegedContext, list[Pair], LengthsRead]:
    """Return how prompts are built, both prompts of each row, and their lengths.

    Raises:
        ValueError: for a row that training refuses, with its name and the remedy.
    """
    settings = teacher if method.uses_teacher else TeacherConfig(template="none")
    kwargs = plain(config.data.get("apply_chat_template_kwargs"))
    context = PrivilegedContext.from_config(tokenizer, settings, kwargs)
    whole = _with_partners(context, rows)
    pairs = [_pair(config, context, row, has_teacher=method.uses_teacher) for row in whole]
    students = [len(context.ids(pair.student)) for pair in pairs]
    asked = context.alternatives
    teachers = [
        max(len(context.ids(text)) + one.reserved for one, text in zip(asked, pair.teacher, strict=True))
        for pair in pairs
        if pair.teacher
    ]
    solutions = [p.solution for p in pairs if p.solution is not None]
    return context, pairs, LengthsRead(students, teachers, solutions)


def _with_partners(context: PrivilegedContext, rows: Sequence[Row]) -> Sequence[Row]:
    """Return rows that carry the solution of another one, if the template shows it."""
    if not any("wrong_solution" in other.template.marks for other in context.alternatives):
        return rows
    return list(with_other_solutions(rows, context.placebo_seed))


def _pair(config: DictConfig, context: PrivilegedContext, row: Row, *, has_teacher: bool) -> Pair:
    name = row_name(row)
    messages = conversation(row, config.data.prompt_key, name)
    if config.reward.custom_reward_function.path == VERIFIER:
        text_of(row, GROUND_TRUTH, name)
    asked = context.alternatives if has_teacher else []
    teacher = tuple(other.teacher_prompt_text(messages, row, EMPTY_ATTEMPTS) for other in asked)
    solution = _solution(row)
    tokens = None if solution is None else len(context.ids(solution))
    return Pair(name, context.student_prompt_text(messages), teacher, tokens)


def _solution(row: Row) -> str | None:
    found = (row.get(SOLUTION.column) or {}).get(SOLUTION.key)
    return found if isinstance(found, str) else None


def shown_pairs(context: PrivilegedContext, pairs: Sequence[Pair]) -> str:
    """Return prompts as text, the generation header and the place where the response begins marked."""
    student_header, teacher_header = context.headers()
    blocks = []
    for pair in pairs:
        blocks.append(block(f"{pair.name}: the student reads", pair.student, student_header))
        for text in pair.teacher:
            also = "" if text is pair.teacher[0] else " also"
            blocks.append(block(f"{pair.name}: the teacher{also} reads", text, teacher_header))
    return "\n\n".join(blocks)


def block(title: str, text: str, header: str) -> str:
    """Return a prompt as text, its generation header and its end marked."""
    before = text.removesuffix(header)
    return f"=== {title}\n{before}\n=== generation header\n{header}\n=== here the response begins"
