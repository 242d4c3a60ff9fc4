"""Consensus gate: learn from a prompt only where enough answers agree (GATES, arXiv 2602.20574).

Agreement replaces correctness if answers cannot be verified. The gate reads no reward and no ground truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.columns import Columns
from verl_egrsd.methods.part import Factor, HealthCheck

_Keep = Literal["all", "agreeing"]
AT_LEAST = 2
"""One answer alone is not agreement."""


@dataclass(frozen=True)
class Consensus(Factor):
    """g[i] = 1 where max(2, agreement * n) or more of a prompt's n rollouts give the same answer, else 0.

    Attributes:
        agreement: share of a prompt's rollouts that must give the same answer, in (0, 1].
        keep: rows of such a prompt that count: "all", or "agreeing": those whose answer enough rows give.
    """

    name: ClassVar[str] = "consensus"
    about_one: ClassVar[bool] = False
    health_checks: ClassVar[tuple[HealthCheck, ...]] = (
        HealthCheck(
            name="consensus",
            threshold="consensus",
            metric="consensus/mean",
            limits=(0.1, 0.01),
            unit="share of tokens",
            reading="{percent} of the tokens pass the consensus gate, in {steps}.",
            advice=(
                "Lower algorithm.egrsd.consensus.agreement, raise rollout.n, or check that the reward "
                "function returns the answer as `pred` (egrsd/consensus/share_answered)."
            ),
        ),
    )

    agreement: float = 0.5
    keep: _Keep = "all"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check.number("agreement", lambda x: 0 < x <= 1, "in (0, 1]")
        self.check.one_of("keep", get_args(_Keep))

    @property
    def reads(self) -> frozenset[str]:
        """Which rows answer the same prompt, and which gave the same answer."""
        return frozenset({"problems", "answers"})

    def weights(self, columns: Columns, advantages: PerTokenOrRow) -> PerTokenOrRow:
        """Return g of each row, (B, 1); a row without an answer agrees with no other."""
        rivals = columns.problems.unsqueeze(0) == columns.problems.unsqueeze(1)
        agreeing = self._agreeing(columns, rivals)
        kept = (rivals & agreeing).any(dim=1) if self.keep == "all" else agreeing
        return kept.float().unsqueeze(1)

    def _agreeing(self, columns: Columns, rivals: Bool[Tensor, "batch batch"]) -> Bool[Tensor, " batch"]:
        """Return which rows give an answer that enough rows of their prompt give."""
        answers = columns.answers
        same = rivals & (answers.unsqueeze(0) == answers.unsqueeze(1)) & (answers >= 0)
        sizes = rivals.sum(dim=1).tolist()
        # 0.56 of 25 rows is 14, and a little more in binary.
        needed = [max(AT_LEAST, math.ceil(self.agreement * size - 1e-9)) for size in sizes]
        return same.sum(dim=1) >= torch.tensor(needed, device=answers.device)

    def metrics(self, columns: Columns, weights: PerToken) -> Mapping[str, Tensor]:
        """Return the share of rollouts that have an answer."""
        return {"share_answered": (columns.answers >= 0).float().mean()}
