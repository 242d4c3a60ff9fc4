"""The final answer of a row, and whether its solution arrives at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from data_prep.schemas import Exercise
from data_prep.stages import Dropped, Stage
from data_prep.values import shown
from verl_egrsd.reward import Reason, VerdictPool, normalise
from verl_egrsd.rows import NOTHING

Answers = Literal["ground_truth", "solution"]
Policy = Literal["drop", "keep"]


def choose_answers(exercises: Sequence[Exercise], answers: Answers) -> list[Exercise | Dropped]:
    """Return the rows with their final answer.

    Args:
        exercises: rows of one batch.
        answers: "ground_truth" takes the data's separate answer if there is one, else the solution's answer;
            "solution" always takes the solution's answer and drops the separate one.
    """
    return [_with_answer(row, answers) for row in exercises]


def _with_answer(row: Exercise, answers: Answers) -> Exercise | Dropped:
    if answers == "solution":
        row = replace(row, ground_truth="")
    answer = row.ground_truth or row.own_answer
    if not answer or answer.lower() in NOTHING:
        return Dropped("no final answer", f"row {row.index}")
    return replace(row, answer=answer)


class Verification:
    """Compares each solution's final answer with the separate ground truth.

    Args:
        pool: judges the pairs.
        stage: where kept rows are noted.
        mismatch: what happens to a row whose solution has another answer, or an answer that cannot be read.
        no_ground_truth: what happens to a row without a separate ground truth.
        no_answer: what happens to a row whose solution has no `\\boxed{}` or `#### x`; None treats it as a
            mismatch.
    """

    def __init__(
        self,
        pool: VerdictPool,
        stage: Stage,
        mismatch: Policy,
        no_ground_truth: Policy,
        no_answer: Policy | None = None,
    ) -> None:
        self.pool, self.stage = pool, stage
        self.mismatch, self.no_ground_truth = mismatch, no_ground_truth
        self.no_answer = no_answer or mismatch

    def __call__(self, exercises: Sequence[Exercise]) -> list[Exercise | Dropped]:
        """Return the rows of one batch; mark those with a confirmed answer as verified.

        Equal strings are correct whatever math-verify says of them, so they need no process.
        """
        compared = (row for row in exercises if row.ground_truth and row.solution)
        doubtful = [row for row in compared if not _is_written_alike(row)]
        items = ((f"\\boxed{{{row.own_answer}}}", row.ground_truth, row.problem) for row in doubtful)
        verdicts = zip(doubtful, self.pool.verify(items), strict=True)
        reasons: dict[int, Reason] = {row.index: verdict.reason for row, verdict in verdicts}
        return [self._judge(row, reasons.get(row.index, "correct")) for row in exercises]

    def _judge(self, row: Exercise, reason: Reason) -> Exercise | Dropped:
        if not row.ground_truth:
            return self._chosen(row, self.no_ground_truth, "no_ground_truth")
        if not row.solution:
            return self._chosen(row, "keep", "no_solution")
        if reason != "correct":
            return self._chosen(row, self.no_answer if reason == "no_answer" else self.mismatch, reason)
        self.stage.noted["verified"] += 1
        return replace(row, verified=True)

    def _chosen(self, row: Exercise, choice: Policy, reason: str) -> Exercise | Dropped:
        if choice == "drop":
            return Dropped(
                reason, f"row {row.index}: {shown(row.own_answer)} against {shown(row.ground_truth)}"
            )
        self.stage.noted[reason] += 1
        return row


def _is_written_alike(row: Exercise) -> bool:
    own = normalise(row.own_answer)
    return bool(own) and own == normalise(row.ground_truth)
