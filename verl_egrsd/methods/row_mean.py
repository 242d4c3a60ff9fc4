"""Row mean: every response counts alike, however long it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from verl_egrsd.credit.types import PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor


@dataclass(frozen=True)
class RowMean(Factor):
    """w[i] = (mean of T over the rollouts) / T[i], with T[i] the response tokens of rollout i.

    The loss is a mean over all response tokens; with this weight it is the mean over a row's tokens, and then
    over the rows, as PW-OPSD (arXiv 2605.21606) takes it.
    """

    name: ClassVar[str] = "row_mean"

    @property
    def reads(self) -> frozenset[str]:
        """Nothing beside the mask."""
        return frozenset()

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerTokenOrRow:
        """Return w of each row, (B, 1); its mean over the tokens is 1."""
        length = columns.response_mask.sum(dim=1, keepdim=True)
        return length[length > 0].float().mean() / length.clamp(min=1)
