"""Placebo controls of the reference solution: text of the same kind, without its help.

`wrong_solution` is the solution of another problem. It measures the gain from being shown any solution.
`shuffled_solution` is the problem's own solution with its words in random order. It keeps the vocabulary and
the answer, and loses the argument. Both depend on the data and a seed only, so they are the same on every
machine and after a resume.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from verl_egrsd.rows import Field, Row, row_name, structure, text_of
from verl_egrsd.teacher.marks import ANSWER, SOLUTION

OTHER_SOLUTION = Field(
    "extra_info",
    "solution_of_another_row",
    "the template wrong_solution shows it",
    "or train with verl_egrsd.trainer.dataset.PrivilegedDataset, which adds it",
)
"""Field of a training row that carries the solution of another row."""


def partners(answers: Sequence[str], seed: int) -> list[int]:
    """Return for each row the position of its partner, whose solution it is shown; each row is a partner
    once.

    Rows are sorted by answer; answers, and the rows of one answer, are in random order. The partner of a row
    is k places further, where k is the number of rows with the most frequent answer. So a row and its partner
    have different answers, unless one answer has more than half of the rows. Then as few pairs as possible
    agree.

    Args:
        answers: the answer of each row; equal texts are equal answers.
        seed: seed of the random order.

    Raises:
        ValueError: for fewer than two rows.
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
    """Return the row with the solution of another row, in `extra_info.solution_of_another_row`."""
    solution = text_of(other, SOLUTION, row_name(other))
    return {**row, "extra_info": {**row["extra_info"], OTHER_SOLUTION.key: solution}}


def with_other_solutions(rows: Sequence[Row], seed: int) -> Iterator[Row]:
    """Yield the rows, each with the solution of its partner; errors as :func:`with_solution_of`."""
    for row, other in zip(rows, partners_of(rows, seed), strict=True):
        yield with_solution_of(rows[other], row)


def shuffled_words(text: str, seed: int) -> str:
    """Return the text with its words in random order and its white space unchanged.

    The order differs from the original one if the text has two different words.
    """
    words = re.findall(r"\S+", text)
    rng, order = random.Random(f"{seed}/{text}"), words
    while order == words and len(set(words)) > 1:
        order = rng.sample(words, len(words))
    rest = iter(order)
    return re.sub(r"\S+", lambda _: next(rest), text)
