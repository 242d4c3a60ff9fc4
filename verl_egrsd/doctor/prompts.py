"""What student and teacher read of the first training rows: as text, and their lengths against every cap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq
from omegaconf import DictConfig

from verl_egrsd.checkpoints.places import local_file
from verl_egrsd.config import TeacherConfig
from verl_egrsd.doctor.lines import CheckLine, doubt, wrong
from verl_egrsd.methods import Method
from verl_egrsd.preflight.reading import VERIFIER, plain
from verl_egrsd.rows import GROUND_TRUTH, Row, conversation, row_name, text_of
from verl_egrsd.teacher.attempts import EMPTY_ATTEMPTS
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.marks import SOLUTION
from verl_egrsd.teacher.placebo import partners_of, with_solution_of

ROWS_READ = 256
"""Rows whose lengths are measured; training checks all of them before its first step."""
THINKING_CAP = 4_096
"""Answers with reasoning are mostly longer than this, in tokens."""


@dataclass(frozen=True)
class Pair:
    """Both prompts of a row.

    Attributes:
        name: of the row.
        student: what the student reads, generation header included.
        teacher: what the teacher reads; None for a method without a teacher.
        solution: tokens of the reference solution; None if the row has none.
    """

    name: str
    student: str
    teacher: str | None
    solution: int | None


@dataclass(frozen=True)
class LengthsRead:
    """Tokens of the rows that were read.

    Attributes:
        student: of the student's prompts.
        teacher: of the teacher's prompts, room for rollouts included; empty without a teacher.
        solution: of the reference solutions.
    """

    student: Sequence[int]
    teacher: Sequence[int]
    solution: Sequence[int]

    @property
    def privileged(self) -> float:
        """What the teacher reads beyond the student, mean."""
        return max(0.0, mean(self.teacher) - mean(self.student)) if self.teacher else 0.0


def first_rows(config: DictConfig, number: int = ROWS_READ) -> list[Row]:
    """Return the first rows of the training data; none if it is not a parquet file here."""
    given = config.data.train_files
    path = Path(given if isinstance(given, str) else given[0])
    if path.suffix != ".parquet" or not path.is_file():
        return []
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(batch_size=number)
        return [row for batch in islice(batches, 1) for row in batch.to_pylist()][:number]


def load_tokenizer(config: DictConfig) -> Any | None:
    """Return the tokenizer of the run's model; None if it is not on this machine."""
    model = config.actor_rollout_ref.model
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
    students, teachers = (
        [len(context.ids(text)) for text in texts]
        for texts in ([p.student for p in pairs], [p.teacher for p in pairs if p.teacher is not None])
    )
    solutions = [p.solution for p in pairs if p.solution is not None]
    return context, pairs, LengthsRead(students, [n + context.reserved for n in teachers], solutions)


def _with_partners(context: PrivilegedContext, rows: Sequence[Row]) -> Sequence[Row]:
    """Return rows that carry the solution of another one, if the template shows it."""
    if not any("wrong_solution" in other.template.marks for other in context.alternatives):
        return rows
    partners = partners_of(rows, context.placebo_seed)
    return [with_solution_of(rows[partner], row) for partner, row in zip(partners, rows, strict=True)]


def _pair(config: DictConfig, context: PrivilegedContext, row: Row, *, has_teacher: bool) -> Pair:
    name = row_name(row)
    messages = conversation(row, config.data.prompt_key, name)
    if config.reward.custom_reward_function.path == VERIFIER:
        text_of(row, GROUND_TRUTH, name)
    teacher = context.teacher_prompt_text(messages, row, EMPTY_ATTEMPTS) if has_teacher else None
    solution = _solution(row)
    tokens = None if solution is None else len(context.ids(solution))
    return Pair(name, context.student_prompt_text(messages), teacher, tokens)


def _solution(row: Row) -> str | None:
    found = (row.get(SOLUTION.column) or {}).get(SOLUTION.key)
    return found if isinstance(found, str) else None


def compare_lengths(config: DictConfig, teacher: TeacherConfig, lengths: LengthsRead) -> Iterator[CheckLine]:
    """Yield the lengths of the prompts against the caps, and what does not fit."""
    data = config.data
    caps = [
        ("student's prompt", lengths.student, "data.max_prompt_length", data.max_prompt_length),
        (
            "teacher's prompt",
            lengths.teacher,
            "actor_rollout_ref.teacher.max_prompt_length",
            teacher.max_prompt_length,
        ),
    ]
    for what, found, key, cap in caps:
        if found:
            text = f"{what}: {min(found):,} to {max(found):,} tokens, {key}={cap:,}"
            over = sum(length > cap for length in found)
            drops = data.filter_overlong_prompts if what.startswith("student") else teacher.overlong == "drop"
            yield _against(text, over, len(found), drops=drops)
    yield from _against_the_response(data.max_response_length, lengths.solution)
    thinks = plain(data.get("apply_chat_template_kwargs")).get("enable_thinking")
    if thinks and data.max_response_length < THINKING_CAP:
        yield doubt(
            "lengths",
            f"the student thinks (data.apply_chat_template_kwargs.enable_thinking=true), and "
            f"data.max_response_length={data.max_response_length:,} cuts most answers that do: set it to "
            "16384, as THINKING=1 of a recipe does.",
        )


def _against(text: str, over: int, of: int, *, drops: bool) -> CheckLine:
    if not over:
        return CheckLine("lengths", text)
    if drops and over < of:
        return doubt("lengths", f"{text}: {over} of the first {of} rows are longer and are left out.")
    remedy = "Raise the cap, or shorten the rows."
    return wrong("lengths", f"{text}: {over} of the first {of} rows are longer. {remedy}")


def _against_the_response(cap: int, solutions: Sequence[int]) -> Iterator[CheckLine]:
    if not solutions:
        return
    longer = sum(length > cap for length in solutions) / len(solutions)
    text = f"reference solutions: mean {mean(solutions):,.0f} tokens, data.max_response_length={cap:,}"
    if longer > 0.5:
        yield doubt("lengths", f"{text}: {longer:.0%} are longer than an answer may be.")
    else:
        yield CheckLine("lengths", text)


def shown_pairs(context: PrivilegedContext, pairs: Sequence[Pair]) -> str:
    """Return prompts as text, the generation header and the place where the response begins marked."""
    student_header, teacher_header = context.headers()
    blocks = []
    for pair in pairs:
        blocks.append(_block(f"{pair.name}: the student reads", pair.student, student_header))
        if pair.teacher is not None:
            blocks.append(_block(f"{pair.name}: the teacher reads", pair.teacher, teacher_header))
    return "\n\n".join(blocks)


def _block(title: str, text: str, header: str) -> str:
    before = text.removesuffix(header)
    return f"=== {title}\n{before}\n=== generation header\n{header}\n=== here the response begins"
