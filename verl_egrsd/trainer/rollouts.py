"""The valid rows of a step's batch, as the method reads them: the one read of the advantage step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.workers.utils.padding import response_to_nested

from verl_egrsd.methods import Columns, Method
from verl_egrsd.methods.columns import PASS_RATE, TOKEN_COLUMNS
from verl_egrsd.rollouts.outcome import truncated_rows
from verl_egrsd.rows import Row, share_of
from verl_egrsd.trainer import queue

QUEUE_NAMES = {
    "student_log_prob": "old_log_probs",
    "student_entropy": "entropy",
    "teacher_log_prob": "teacher_log_prob",
    "teacher_entropy": "teacher_entropy",
    "divergence": "divergence",
}
"""What verl's queue calls a token column."""
ALWAYS = ("uid", "raw_prompt", "response_mask", "responses", "rm_scores", "extra_fields")


@dataclass(frozen=True, eq=False)
class Rollouts:
    """The valid rows of a batch: without the padding rows that verl appends.

    Attributes:
        valid: which rows of the batch these are, (batch,).
        nested_mask: the response mask of all rows, in the form in which columns are written back.
        uids: of the prompts.
        prompts: last user turn of each row, by which an error names it.
        response_ids: padded on the right, (rows, time).
        response_mask: True on response tokens, (rows, time).
        lengths: tokens of each response, (rows,).
        prompt_lengths: tokens of each prompt, (rows,).
        truncated: whether each response was cut: it does not end in an end token, (rows,).
        scores: of the reward function, (rows,).
        verdicts: what the reward function returned beside the score.
        token_columns: what the method reads, by its name, (rows, time).
        verls_advantages: of verl's estimator, (rows, time); None where the method has its own.
        data: what the method reads of the rows of the training data; None where it reads nothing.
    """

    valid: Bool[Tensor, " batch"]
    nested_mask: Tensor
    uids: Sequence[str]
    prompts: Sequence[str]
    response_ids: Int[Tensor, "rows time"]
    response_mask: Bool[Tensor, "rows time"]
    lengths: Int[Tensor, " rows"]
    prompt_lengths: Int[Tensor, " rows"]
    truncated: Bool[Tensor, " rows"]
    scores: Tensor
    verdicts: Sequence[Mapping[str, Any]]
    token_columns: Mapping[str, Tensor]
    verls_advantages: Tensor | None
    data: Sequence[Row] | None

    def columns(self, method: Method, step: int) -> Columns:
        """Return what the method reads, cleaned.

        Raises:
            ValueError: for a score or a number on a token that is not finite, or a row of the data without a
                pass rate, naming column and prompt.
        """
        for row, score in enumerate(self.scores.tolist()):
            if not math.isfinite(score):
                raise ValueError(f"the reward function's score is {score} for {self.row_name(row)}.")
        correct = method.reward.correct(self.scores)
        own = self.scores if method.is_verls else method.reward.rewards(correct, self.lengths)
        return Columns.of(
            self.response_mask,
            rewards=own,
            correct=correct,
            problems=_numbered(self.uids),
            answers=_numbered([str(verdict.get("pred", "")) for verdict in self.verdicts], nothing=""),
            pass_rate=self._pass_rates(),
            step=step,
            row_name=self.row_name,
            **self.token_columns,
        )

    def _pass_rates(self) -> Tensor | None:
        if self.data is None:
            return None
        shares = [share_of(row, PASS_RATE, self.row_name(i)) for i, row in enumerate(self.data)]
        return torch.tensor(shares, dtype=torch.float64)

    def row_name(self, row: int) -> str:
        """Return how an error names a row."""
        return f"the rollout of prompt {self.prompts[row][:200]!r}"

    def as_column(self, values: Tensor) -> Tensor:
        """Return a token column as the queue takes it; padding rows get zeros.

        Args:
            values: of the valid rows, (rows, time).
        """
        whole = torch.zeros(len(self.valid), self.response_mask.shape[1])
        whole[self.valid] = values
        return response_to_nested(whole, self.nested_mask)


def read_rollouts(batch: KVBatchMeta, method: Method, ends: Sequence[int]) -> Rollouts:
    """Fetch what the method reads, and no other token column and no column of the data.

    Args:
        batch: the rows of a step.
        method: with all its numbers.
        ends: tokens that end a response.
    """
    read = {name: QUEUE_NAMES[name] for name in TOKEN_COLUMNS if name in method.reads}
    of_data = [PASS_RATE.column] if PASS_RATE.key in method.reads else []
    fields = [*ALWAYS, *of_data, *read.values(), *(["advantages"] if method.is_verls else [])]
    data = queue.read(batch, fields)
    valid = queue.valid_rows(batch)
    rows = valid.nonzero().flatten().tolist()
    objects = ("uid", "raw_prompt", "extra_fields", *of_data)
    texts = {name: queue.rows(data.pop(name)) for name in objects}
    nested_mask, lengths = data["response_mask"], data["responses"].offsets().diff()[valid]
    padded = {name: column[valid] for name, column in data.to_padded_tensor().items()}
    return Rollouts(
        valid=valid,
        nested_mask=nested_mask,
        uids=[str(texts["uid"][row]) for row in rows],
        prompts=[texts["raw_prompt"][row][-1]["content"] for row in rows],
        response_ids=padded["responses"],
        response_mask=padded["response_mask"].bool(),
        lengths=lengths,
        prompt_lengths=queue.prompt_lengths(batch)[valid],
        truncated=truncated_rows(padded["responses"], lengths, ends),
        scores=padded["rm_scores"].sum(dim=1),
        verdicts=[(texts["extra_fields"][row] or {}).get("reward_extra_info", {}) for row in rows],
        token_columns={name: padded[source] for name, source in read.items()},
        verls_advantages=padded.get("advantages"),
        data=[{name: texts[name][row] for name in of_data} for row in rows] if of_data else None,
    )


def _numbered(names: Sequence[str], nothing: str | None = None) -> Tensor:
    """Return the same number for the same name; -1 for `nothing`."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([-1 if name == nothing else numbers[name] for name in names])
