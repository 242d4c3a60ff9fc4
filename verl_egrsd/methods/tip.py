"""TIP's selection: only the tokens that carry the most signal are trained.

A token is worth training where the student is uncertain (high entropy), and where it is certain and the
teacher disagrees (low entropy, high divergence). The score is high in both cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import DIVERGENCE, Columns
from verl_egrsd.methods.part import Factor, Panel
from verl_egrsd.methods.ratio import MAX_LOG_RATIO

Score = Literal["union", "entropy", "confidently_wrong"]
Measure = Literal["sampled", "vocabulary"]
Values = Float[Tensor, " tokens"]


@dataclass(frozen=True)
class Tip(Factor):
    """w[i,t] = 1[score[i,t] is among the largest `share`] * tokens / kept tokens   (TIP, arXiv 2604.14084).

        union:             h + d - h * d
        entropy:           h
        confidently_wrong: D * (1 - h)

    h is the student's entropy H, d the divergence D, each scaled to [0, 1] between its smallest and largest
    value over the response tokens of the batch (0 where all are equal). The mean weight is 1, so the mean
    loss is that over the kept tokens.

    D, in nats, is the method's divergence over the vocabulary, which is KL(student, teacher) in the paper, or
    |log p_T - log p_S| of the sampled token. round(share * tokens) tokens are kept, at least one. Among equal
    scores the larger entropy comes first; tokens that are equal in both to the last one are kept with it, so
    that the order of the rows decides nothing.

    Attributes:
        share: share of the batch's response tokens that are kept, in (0, 1]; 1 switches the selection off.
        score: "union", "entropy" (needs no teacher) or "confidently_wrong".
        measure: D: "sampled", or "vocabulary" in a method with a divergence.
    """

    name: ClassVar[str] = "tip"
    centre: ClassVar[float | None] = 1.0
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("share of tokens that TIP keeps", ("tip/share_kept",)),
        Panel("student's entropy of the tokens that TIP keeps (nats)", ("tip/entropy_kept",)),
    )

    share: float = 0.5
    score: Score = "union"
    measure: Measure = "sampled"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.number("share", lambda x: 0 < x <= 1, "in (0, 1]; 1 keeps every token")
        self.check.one_of("score", get_args(Score))
        self.check.one_of("measure", get_args(Measure))

    @property
    def reads(self) -> frozenset[str]:
        """The student's entropy, and what D is made of."""
        if self.score == "entropy":
            return frozenset({"student_entropy"})
        sampled = ("student_log_prob", "teacher_log_prob")
        return frozenset({"student_entropy", *(sampled if self.measure == "sampled" else (DIVERGENCE,))})

    @property
    def off(self) -> bool:
        """With share 1 every token is kept."""
        return self.share == 1

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerToken:
        """Return 0 on dropped tokens, tokens / kept tokens on the others."""
        mask = columns.response_mask
        entropy = columns.column("student_entropy")[mask]
        kept = largest(self.scores(columns), self.share, tie_break=entropy)
        weights = kept.float() * len(kept) / kept.sum()
        return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, weights)

    def scores(self, columns: Columns) -> Values:
        """Return the score of every response token, row by row, float64."""
        mask = columns.response_mask
        h = _scaled(columns.column("student_entropy")[mask])
        if self.score == "entropy":
            return h
        divergence = self._divergence(columns)[mask].double()
        if self.score == "confidently_wrong":
            return divergence * (1 - h)
        # h + d - h * d, in the form that is exactly 1 where h or d is.
        return 1 - (1 - h) * (1 - _scaled(divergence))

    def _divergence(self, columns: Columns) -> PerToken:
        if self.measure == "vocabulary":
            return columns.column(DIVERGENCE)
        return columns.log_ratio().abs().clamp(max=MAX_LOG_RATIO)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the share of kept tokens, and their mean entropy in nats."""
        kept = weights[columns.response_mask] > 0
        entropy = columns.column("student_entropy")[columns.response_mask]
        return {"share_kept": kept.float().mean(), "entropy_kept": entropy[kept].mean()}


def largest(scores: Values, share: float, *, tie_break: Values) -> Bool[Tensor, " tokens"]:
    """Return which of the scores are among the largest `share`; see :class:`Tip` for rounding and ties."""
    count = max(1, round(share * len(scores)))
    last = _nth_largest(scores, count)
    above, level = scores > last, scores == last
    missing = count - int(above.sum())
    return above | (level & (tie_break >= _nth_largest(tie_break[level], missing)))


def _nth_largest(values: Values, n: int) -> Float[Tensor, ""]:
    return values.kthvalue(len(values) - n + 1).values


def _scaled(values: Values) -> Values:
    """Return the values between 0 and 1, float64; all 0 where they are equal."""
    values = values.double()
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
