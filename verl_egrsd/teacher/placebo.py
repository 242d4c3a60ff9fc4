"""Placebo controls of the reference solution: text of the same kind, without its help.

`wrong_solution` is the solution of another problem: what a teacher gains from it, it gains from being shown
any solution. `shuffled_solution` is the problem's own solution with its words in random order: its vocabulary
and its answer without its argument. Both depend on the data and a seed alone, so they are the same on every
machine and after a resume.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from verl_egrsd.rows import Field, Row, row_name, structure, text_of
from verl_egrsd.teacher.marks import ANSWER, SOLUTION

OTHER_SOLUTION = Field(
    "extra_info",
    "solution_of_another_row",
    "the template wrong_solution shows it",
    "or train with verl_egrsd.trainer.dataset.PrivilegedDataset, which adds it",
)
"""Where a row of the training data carries the solution of another one."""


def partners(answers: Sequence[str], seed: int) -> list[int]:
    """Return for each row the position of another row, whose solution it is shown; each is shown once.

    Rows are sorted by answer (the answers, and the rows of one answer, in random order), and each is shown
    the row that is as many places further as the most frequent answer has rows. So no row and its partner
    have the same answer, unless that answer has more than half of the rows; then as few as possible have.

    Args:
        answers: the answer of each row; equal texts are equal answers.
        seed: of the order.

    Raises:
        ValueError: for less than two rows.
    """
    rows = len(answers)
    if rows < 2:
        raise ValueError(
            f"the template wrong_solution shows the solution of another row, and there is {rows}: add rows."
        )
    rng = random.Random(seed)
    rank = {answer: rng.random() for answer in sorted(set(answers))}
    order = sorted(rng.sample(range(rows), rows), key=lambda row: rank[answers[row]])
    largest = max(Counter(answers).values())
    shift = largest if largest < rows else 1
    shown = dict(zip(order, order[shift:] + order[:shift], strict=True))
    return [shown[row] for row in range(rows)]


def partners_of(rows: Iterable[Row], seed: int) -> list[int]:
    """Return the partners of rows by their ground truths; see :func:`partners`."""
    answers = [
        str(structure(row, ANSWER.column, row_name(row, i)).get(ANSWER.key)) for i, row in enumerate(rows)
    ]
    return partners(answers, seed)


def with_solution_of(other: Row, row: Row) -> Row:
    """Return a row that carries the solution of another one, in `extra_info.solution_of_another_row`."""
    solution = text_of(other, SOLUTION, row_name(other))
    return {**row, "extra_info": {**row["extra_info"], OTHER_SOLUTION.key: solution}}


def shuffled_words(text: str, seed: int) -> str:
    """Return a text with its words in random order; white space stays where it is.

    The order differs from the text's own wherever two of its words differ.
    """
    words = re.findall(r"\S+", text)
    rng, order = random.Random(f"{seed}/{text}"), words
    while order == words and len(set(words)) > 1:
        order = rng.sample(words, len(words))
    rest = iter(order)
    return re.sub(r"\S+", lambda _: next(rest), text)
