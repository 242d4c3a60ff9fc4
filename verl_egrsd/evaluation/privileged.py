"""What the teacher reads of a row: with it, a model can be evaluated as the teacher of its own training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verl_egrsd.config import TeacherConfig
from verl_egrsd.rows import Row, text_of
from verl_egrsd.teacher.placebo import OTHER_SOLUTION, with_other_solutions
from verl_egrsd.teacher.templates import Template

Privileged = Mapping[str, Mapping[str, str]]
"""Texts by column and field, as in a row."""


def privileged_fields(rows: Sequence[Row], template: Template, name: str) -> list[Privileged]:
    """Return the fields of each row that a template shows.

    Args:
        rows: all rows of a file; the wrong solution of a row is that of another one, as in training with the
            default `teacher.placebo_seed`.
        template: of the teacher's prompt, without marks of rollouts.
        name: of the file, for messages.

    Raises:
        ValueError: naming the row and the field that is missing or is no text, or when there is no other row.
    """
    found: list[dict[str, dict[str, str]]] = []
    for number, row in enumerate(rows):
        texts: dict[str, dict[str, str]] = {}
        for field in template.fields:
            texts.setdefault(field.column, {})[field.key] = text_of(row, field, f"row {number} of {name}")
        found.append(texts)
    if "wrong_solution" in template.marks:
        others = with_other_solutions(rows, TeacherConfig.placebo_seed)
        for texts, row in zip(found, others, strict=True):
            texts[OTHER_SOLUTION.column][OTHER_SOLUTION.key] = row[OTHER_SOLUTION.column][OTHER_SOLUTION.key]
    return list(found)
