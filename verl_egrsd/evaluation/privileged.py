"""What the teacher reads of a row: with it, a model can be evaluated as the teacher of its own training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from verl_egrsd.rows import Row, text_of
from verl_egrsd.teacher.placebo import OTHER_SOLUTION, with_other_solutions
from verl_egrsd.teacher.templates import Template

Privileged = Mapping[str, Mapping[str, str]]
"""Texts by column and field, as in a row."""
PLACEBO_SEED = 0
"""The default of `actor_rollout_ref.teacher.placebo_seed`."""


def privileged_fields(rows: Sequence[Row], template: Template, name: str) -> list[Privileged]:
    """Return the fields of each row that a template shows.

    Args:
        rows: all rows of a file; the wrong solution of a row is that of another one.
        template: of the teacher's prompt, without marks of rollouts.
        name: of the file, for messages.

    Raises:
        ValueError: naming the row and the field that is missing or is no text.
    """
    fields = template.fields
    if "wrong_solution" in template.marks:
        rows, fields = list(with_other_solutions(rows, PLACEBO_SEED)), (*fields, OTHER_SOLUTION)
    found: list[Privileged] = []
    for number, row in enumerate(rows):
        texts: dict[str, dict[str, str]] = defaultdict(dict)
        for field in fields:
            texts[field.column][field.key] = text_of(row, field, f"row {number} of {name}")
        found.append(dict(texts))
    return found
