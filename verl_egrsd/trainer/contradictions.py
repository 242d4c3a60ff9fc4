"""Finds solutions that contradict the ground truth: there the teacher works against the reward."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from verl_egrsd.config import DataChecks
from verl_egrsd.reward import Reason, VerdictPool, normalise
from verl_egrsd.reward.answer import own_answer
from verl_egrsd.rows import Field, Row, row_name, text_of
from verl_egrsd.teacher.marks import ANSWER, SOLUTION

logger = logging.getLogger(__name__)

_PROCESSES = 2
_ROWS_PER_CALL = 8
"""Rows that are compared before the time limit is checked again."""
_SHOWN = 5
"""Rows that the warning names."""


def warn_of_contradictions(rows: Any, checks: DataChecks) -> tuple[int, int]:
    """Compare the final answers of some solutions with the ground truths, and warn if they differ.

    Args:
        rows: rows with `extra_info.solution` and `reward_model.ground_truth`, by position.
        checks: the number of rows to compare, and the time limit in seconds.

    Returns:
        the number of compared solutions, and the number that contradict the ground truth. A solution is not
        compared if it has no final answer or if the verifier cannot read its answer.
    """
    positions = range(len(rows))
    sample = random.Random(0).sample(positions, min(checks.solution_rows, len(rows)))
    compared, wrong = 0, []
    for row, reason in _judged([rows[i] for i in sorted(sample)], checks.solution_seconds):
        compared += reason in ("correct", "wrong")
        if reason == "wrong":
            wrong.append(row)
    if wrong:
        named = "; ".join(
            f"{row_name(row)}: solution {own_answer(_text(row, SOLUTION))!r}, ground truth "
            f"{_text(row, ANSWER)!r}"
            for row in wrong[:_SHOWN]
        )
        logger.warning(
            "%d of %d sampled solutions arrive at another answer than reward_model.ground_truth (%d rows in "
            "all): the teacher reads a solution whose answer the reward calls wrong. %s. data_prep verifies "
            "the solutions and drops such rows.",
            *(len(wrong), compared, len(rows), named),
        )
    return compared, len(wrong)


def _text(row: Row, field: Field) -> str:
    return text_of(row, field, row_name(row))


def _judged(rows: Sequence[Row], seconds: float) -> Iterator[tuple[Row, Reason]]:
    """Yield rows whose solution has a final answer, with the verdict on it, up to the time limit."""
    answered = [(row, own_answer(_text(row, SOLUTION)), _text(row, ANSWER)) for row in rows]
    doubtful = []
    for row, answer, truth in answered:
        if answer and normalise(answer) == normalise(truth):
            yield row, "correct"
        elif answer:
            doubtful.append((row, answer, truth))
    if not doubtful:
        return
    end = time.monotonic() + seconds
    with VerdictPool(_PROCESSES) as pool:
        for start in range(0, len(doubtful), _ROWS_PER_CALL):
            some = doubtful[start : start + _ROWS_PER_CALL]
            verdicts = pool.verify((f"\\boxed{{{answer}}}", truth) for _, answer, truth in some)
            yield from ((row, verdict.reason) for (row, _, _), verdict in zip(some, verdicts, strict=True))
            if time.monotonic() > end:
                return
