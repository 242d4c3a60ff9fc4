"""Longest wrong: edit one failure of each prompt that is sometimes solved (SSOPD, arXiv 2605.17497)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns, group_sum
from verl_egrsd.methods.part import Factor

NEVER = float("-inf")


@dataclass(frozen=True)
class LongestWrong(Factor):
    """o[i] = 1[rollout i is edited] * tokens / (prompts * T[i]), with T[i] the tokens of rollout i.

    Of each prompt with a correct rollout, the longest wrong one is edited; the first one among equals.
    The loss is a mean over all tokens; with this weight it is the mean over the tokens of the edited rollout,
    and then over all prompts of the batch.
    """

    name: ClassVar[str] = "longest_wrong"
    about_one: ClassVar[bool] = False

    @property
    def reads(self) -> frozenset[str]:
        """Which rows answer the same prompt, and which are correct."""
        return frozenset({"problems", "correct"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerTokenOrRow:
        """Return o of each row, (B, 1); all 0 where no prompt has both a correct and a wrong rollout."""
        lengths, prompts = columns.response_mask.sum(dim=1), len(columns.problems.unique())
        weights = edited(columns) * lengths.sum() / (prompts * lengths.clamp(min=1))
        return weights.float().unsqueeze(1)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the share of prompts of which a rollout is edited."""
        return {"share_prompts": edited(columns).sum() / len(columns.problems.unique())}


def edited(columns: Columns) -> Bool[Tensor, " batch"]:
    """Return which rows are the longest wrong rollout of a prompt that also has a correct one."""
    solved = group_sum(columns.correct.double(), columns.problems) > 0
    # Longer ones first, then those that come first in the batch: half a token keeps lengths apart.
    rows = torch.arange(len(columns.correct), device=columns.correct.device)
    rank = columns.response_mask.sum(dim=1) - rows.double() / (2 * len(rows))
    rank = rank.where(~columns.correct & solved, NEVER)
    _, group = columns.problems.unique(return_inverse=True)
    longest = torch.full_like(rank, NEVER).scatter_reduce(0, group, rank, "amax")[group]
    return (rank > NEVER) & (rank == longest)
