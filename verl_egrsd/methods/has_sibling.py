"""Has a sibling: learn where another rollout of the prompt is correct (SDPO, arXiv 2601.20802)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns, group_sum
from verl_egrsd.methods.part import Factor


@dataclass(frozen=True)
class HasSibling(Factor):
    """o[i] = 1[another rollout of the prompt is correct] * tokens / kept tokens.

    A teacher that is shown a correct sibling has nothing to show where there is none. The mean weight is 1
    where any rollout is kept, so the mean loss is that over the kept tokens.
    """

    name: ClassVar[str] = "has_sibling"
    about_one: ClassVar[bool] = False

    @property
    def reads(self) -> frozenset[str]:
        """Which rows answer the same prompt, and which are correct."""
        return frozenset({"problems", "correct"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerTokenOrRow:
        """Return o of each row, (B, 1); all 0 where no rollout has a sibling."""
        kept = has_sibling(columns)
        lengths = columns.response_mask.sum(dim=1)
        tokens = (lengths * kept).sum().clamp(min=1)
        return (kept.float() * lengths.sum() / tokens).unsqueeze(1)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the share of rollouts that are kept."""
        return {"share_kept": has_sibling(columns).float().mean()}


def has_sibling(columns: Columns) -> torch.Tensor:
    """Return which rows have another correct rollout of their prompt, (B,)."""
    correct = columns.correct.double()
    return group_sum(correct, columns.problems) > correct
