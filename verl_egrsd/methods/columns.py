"""What a method reads: the valid rows of one update batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from verl_egrsd.credit.checks import require_same_shape
from verl_egrsd.credit.masks import RowName, entropy_values, numbered, response_tokens, response_values
from verl_egrsd.credit.types import PerRow, PerToken
from verl_egrsd.rows import Field

DIVERGENCE = "divergence"
"""The method's own divergence at each token, before the update."""
TOKEN_COLUMNS = ("student_log_prob", "student_entropy", "teacher_log_prob", "teacher_entropy", DIVERGENCE)
"""Columns with one number per token, in nats."""
STUDENT_HIDDEN = "student_hidden"
"""The student's last hidden state at each response token, from which `DIVERGENCE` is computed."""
TEACHER_HIDDEN = "teacher_hidden"
"""The teacher's last hidden state at each response token; it goes to the update, not to the credit."""
POLICY_CREDIT = "policy_credit"
"""Credit of the policy term beside a divergence; it goes to the update."""
TEACHER_COLUMNS = frozenset({"teacher_log_prob", "teacher_entropy", TEACHER_HIDDEN, DIVERGENCE})
"""Columns for which the teacher has to read the responses."""
GROUP_COLUMNS = frozenset({"problems"})
"""Columns that are useful only if a prompt has several rollouts."""
PASS_RATE = Field(
    "extra_info",
    "pass_rate",
    "algorithm.egrsd.pass_rate.source=data weighs the prompt by it",
    "drop the row, or set algorithm.egrsd.pass_rate.source=rollouts",
)
"""Field of the training rows whose key is also the name of the column."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The valid rows of one update batch, padded on the right; build it with :meth:`of`, which cleans it.

    Attributes:
        response_mask: True on response tokens, (B, T).
        rewards: the rewards that the advantage is computed from, (B,).
        correct: whether the answer is correct, (B,).
        problems: rows with the same number answer the same prompt, (B,).
        answers: rows with the same number gave the same final answer; -1 without an answer, (B,).
        step: training step, from 1.
        student_log_prob: log p_S of the sampled token, nats, (B, T); 0 outside the mask, as all that follow.
        student_entropy: H of the student's next-token distribution, nats, (B, T).
        teacher_log_prob: log p_T of the same token, nats, (B, T).
        teacher_entropy: H of the teacher's next-token distribution, nats, (B, T).
        divergence: D of the method, between both distributions over the vocabulary, nats, (B, T).
        pass_rate: share of correct samples of the prompt that the data holds, in [0, 1], (B,).

    A column from `student_log_prob` on that the method does not read is None: nobody computed or fetched it.
    """

    response_mask: Bool[Tensor, "batch time"]
    rewards: PerRow
    correct: Bool[Tensor, " batch"]
    problems: Int[Tensor, " batch"]
    answers: Int[Tensor, " batch"]
    step: int
    student_log_prob: PerToken | None = None
    student_entropy: PerToken | None = None
    teacher_log_prob: PerToken | None = None
    teacher_entropy: PerToken | None = None
    divergence: PerToken | None = None
    pass_rate: PerRow | None = None

    @classmethod
    def of(
        cls,
        response_mask: Tensor,
        *,
        rewards: Tensor | None = None,
        correct: Tensor | None = None,
        problems: Tensor | None = None,
        answers: Tensor | None = None,
        pass_rate: Tensor | None = None,
        step: int = 1,
        row_name: RowName = numbered,
        **token_columns: Tensor,
    ) -> Columns:
        """Clean the measured values: values outside the mask become 0, half precision becomes float32.

        Args:
            response_mask: 1 on response tokens, of any dtype, (B, T).
            rewards: 0 if not given.
            correct: no row is correct if not given.
            problems: each row is its own problem if not given.
            answers: no row has an answer if not given.
            pass_rate: of the data; not fetched if not given.
            step: training step, from 1.
            row_name: how an error names a row.
            token_columns: any of `TOKEN_COLUMNS`, (B, T).

        Raises:
            ValueError: for a mask with holes, shapes that differ, or a value on a response token that is not
                finite or, for an entropy, below zero (names column, row and position).
        """
        mask = response_tokens(response_mask)
        clean = {
            name: (entropy_values if name.endswith("entropy") else response_values)(
                name, values, mask, row_name
            )
            for name, values in token_columns.items()
        }
        rows = torch.arange(len(mask), device=mask.device)
        per_row = {
            "rewards": torch.zeros(len(mask), device=mask.device) if rewards is None else rewards,
            "correct": torch.zeros_like(rows, dtype=torch.bool) if correct is None else correct,
            "problems": rows if problems is None else problems,
            "answers": torch.full_like(rows, -1) if answers is None else answers,
        }
        if pass_rate is not None:
            per_row[PASS_RATE.key] = pass_rate
        require_same_shape(rows=rows, **per_row)
        return cls(mask, step=step, **per_row, **clean)

    def column(self, name: str) -> PerToken | PerRow:
        """Return a token column, or the pass rates of the data, that the method reads.

        Raises:
            KeyError: when nobody fetched it: a factor's `reads` does not name it.
        """
        values: PerToken | PerRow | None = getattr(self, name)
        if values is None:
            raise KeyError(f"{name} was not fetched: name it in the factor's `reads`.")
        return values

    def token_columns(self) -> Mapping[str, PerToken]:
        """Return the token columns that were fetched, by name."""
        found: dict[str, Any] = {name: getattr(self, name) for name in TOKEN_COLUMNS}
        return {name: values for name, values in found.items() if values is not None}

    def log_ratio(self) -> PerToken:
        """Return log p_T - log p_S of the sampled tokens, nats, (B, T)."""
        return self.column("teacher_log_prob") - self.column("student_log_prob")


def group_sum(values: PerRow, problems: Int[Tensor, " batch"]) -> PerRow:
    """Return, for every row, the sum over the rows of its problem, (B,), float64.

    A problem's rows may lie anywhere in the batch.
    """
    _, group = problems.unique(return_inverse=True)
    zeros = torch.zeros(len(problems), dtype=torch.float64, device=values.device)
    return zeros.index_add(0, group, values.double())[group]


def group_size(problems: Int[Tensor, " batch"]) -> PerRow:
    """Return, for every row, how many rows its problem has, (B,), float64."""
    return group_sum(torch.ones(len(problems), device=problems.device), problems)


def group_mean(values: PerRow, problems: Int[Tensor, " batch"]) -> PerRow:
    """Return, for every row, the mean over the rows of its problem, (B,), float64."""
    return group_sum(values, problems) / group_size(problems)
