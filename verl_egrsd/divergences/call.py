"""What goes into a call and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from verl_egrsd.divergences.row_loss import RowLoss
from verl_egrsd.divergences.settings import Divergence
from verl_egrsd.divergences.shards import Shard

_PerRow = Float[Tensor, " rows"]


class Rows(NamedTuple):
    """What is known of each row; all (N,), nats, float32 (float64 for float64 inputs).

    Attributes:
        loss: see :class:`RowLoss`; D without one. The only field with a gradient.
        divergence: D.
        student_log_prob: of the row's token; None without tokens.
        student_entropy: of the whole distribution.
        teacher_log_prob: as of the student.
        teacher_entropy: as of the student.
    """

    loss: _PerRow
    divergence: _PerRow
    student_log_prob: _PerRow | None
    student_entropy: _PerRow
    teacher_log_prob: _PerRow | None
    teacher_entropy: _PerRow


@dataclass(frozen=True)
class Call:
    """The arguments of :func:`verl_egrsd.divergences.divergence` that have no gradient."""

    teacher_hidden: Tensor
    teacher_weight: Tensor
    settings: Divergence
    token_ids: Tensor | None
    row_loss: RowLoss
    score_temperature: float
    shard: Shard

    @property
    def scored_apart(self) -> bool:
        """Whether log-probs and entropies have another temperature than the divergence."""
        return self.score_temperature != self.settings.temperature

    def require_inputs(self, hidden: Tensor, weight: Tensor) -> None:
        """Refuse shapes that do not fit, ids outside the vocabulary and a row loss without tokens."""
        if not (
            hidden.ndim == weight.ndim == 2
            and hidden.shape == self.teacher_hidden.shape
            and weight.shape == self.teacher_weight.shape
            and hidden.shape[1] == weight.shape[1]
        ):
            raise ValueError(
                f"student_hidden {tuple(hidden.shape)}, teacher_hidden {tuple(self.teacher_hidden.shape)}, "
                f"head_weight {tuple(weight.shape)} and teacher_weight {tuple(self.teacher_weight.shape)} "
                "do not fit: hidden states are (N, D), heads (V, D)."
            )
        if self.settings.top_k is not None:
            of_all = self.shard.sum(torch.tensor(len(weight), device=self.teacher_hidden.device))
            self.settings.require_smaller(int(of_all))
        self.row_loss.require_rows(len(hidden))
        if not self.score_temperature > 0:
            raise ValueError(
                f"score_temperature={self.score_temperature} is not allowed: it must be positive."
            )
        if self.token_ids is None:
            if self.row_loss.needs_tokens:
                raise ValueError("row_loss reads log-probs of tokens: give token_ids.")
        elif self.token_ids.shape != hidden.shape[:1]:
            raise ValueError(
                f"token_ids of shape {tuple(self.token_ids.shape)} do not fit: (N,) is ({len(hidden)},)."
            )
        else:
            self._require_held(self.token_ids, len(weight))

    def _require_held(self, token_ids: Tensor, size: int) -> None:
        holders = self.shard.sum(self.shard.local(token_ids, size)[1].int())
        if (holders != 1).any():
            raise ValueError(
                f"token_ids reach from {int(token_ids.min())} to {int(token_ids.max())}: each must be a row "
                f"of head_weight, of which this rank has {size} from {self.shard.first_id} on."
            )
