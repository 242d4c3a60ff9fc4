"""The marks of a template, their sources, and the field of a row that each of them needs."""

from __future__ import annotations

import re

from verl_egrsd.rows import Field

_USE = "the teacher's template shows it"
_OTHER = "drop the row, or choose another actor_rollout_ref.teacher.template"
SOLUTION = Field("extra_info", "solution", _USE, _OTHER)
ANSWER = Field("reward_model", "ground_truth", _USE, _OTHER)
ROW_MARKS = {
    "solution": SOLUTION,
    "answer": ANSWER,
    "wrong_solution": SOLUTION,
    "shuffled_solution": SOLUTION,
}
"""Marks whose text comes from the data, and the field that every row needs for them."""
ROLLOUT_MARKS = ("attempt", "verdict", "sibling")
"""Marks whose text comes from the rollouts of the prompt, so that it exists in the teacher's step only."""
SHOWN_ROLLOUTS = ("attempt", "sibling")
"""The marks among them that stand for whole responses."""
KNOWN_MARKS = ("task", *ROW_MARKS, *ROLLOUT_MARKS)
COLUMNS = ("extra_info", "reward_model")
"""Columns whose fields a mark may name, as in `<<extra_info.problem_de>>`."""

MARK = re.compile(r"<<([A-Za-z_][\w.]*)>>")
"""A mark in a template's text."""


def check_marks(text: str, where: str) -> None:
    """Refuse a text that is not a template.

    Args:
        text: the template.
        where: name of the template in the message.

    Raises:
        ValueError: naming the mark and the known ones.
    """
    found = dict.fromkeys(MARK.findall(text))
    for mark in found:
        column, _, key = mark.partition(".")
        if mark not in KNOWN_MARKS and not (column in COLUMNS and key):
            known = ", ".join(f"<<{mark}>>" for mark in KNOWN_MARKS)
            raise ValueError(
                f"{where} has the unknown mark <<{mark}>>; known marks: {known}, and a field of "
                f"{' or '.join(COLUMNS)}, such as <<extra_info.problem_de>>."
            )
    if "task" not in found:
        raise ValueError(f"{where} lacks the mark <<task>>, so the teacher would not see the task: {text!r}")
    if "${" in text:
        raise ValueError(
            f"{where} holds '${{', which the configuration would read as an interpolation: put a space "
            "between the two characters."
        )


def field_of(mark: str) -> Field:
    """Return the field that every row needs for a mark; the mark must not be one of the rollouts."""
    column, _, key = mark.partition(".")
    return ROW_MARKS.get(mark) or Field(column, key, _USE, _OTHER)
