"""One side of a slice: logits as unnormalised probabilities, and the sums that every divergence needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from verl_egrsd.divergences.shards import Shard


class TokenScores(NamedTuple):
    """Log-probs of given tokens (None without tokens) and entropies, nats, (n,)."""

    log_prob: Tensor | None
    entropy: Tensor


@dataclass(frozen=True)
class Side:
    """The next-token distributions of some rows, n.

    Attributes:
        logits: minus their maximum, (n, V).
        exps: exp(logits), (n, V).
        total: sum of exps, (n,).
        log_total: (n,), so that log-probs are logits - log_total.
        maximum: what the logits lost, (n,).
        shard: the part of the vocabulary that logits and exps hold; the sums are those of all parts.
    """

    logits: Tensor
    exps: Tensor
    total: Tensor
    log_total: Tensor
    maximum: Tensor
    shard: Shard

    @classmethod
    def of(cls, logits: Tensor, exps: Tensor, shard: Shard) -> Side:
        """Take logits, which lose their maximum in place; `exps` is memory of their shape."""
        maximum = shard.max(logits.amax(dim=1))
        logits.sub_(maximum[:, None])
        torch.exp(logits, out=exps)
        total = shard.sum(exps.sum(dim=1))
        return cls(logits, exps, total, total.log(), maximum, shard)

    def mean(self, values: Tensor) -> Tensor:
        """Return sum over v of p_v values_v, (n,)."""
        return self.shard.sum(torch.linalg.vecdot(self.exps, values, dim=1)) / self.total

    def sum(self, values: Tensor) -> Tensor:
        """Return sum over v of values_v, (n,)."""
        return self.shard.sum(values.sum(dim=1))

    def scores(self, token_ids: Tensor | None) -> TokenScores:
        """Return the scores of given tokens."""
        # Where one token has all the weight, rounding may leave an entropy of -1e-7.
        entropy = (self.log_total - self.mean(self.logits)).clamp(min=0.0)
        if token_ids is None:
            return TokenScores(None, entropy)
        return TokenScores(self.log_probs(token_ids[:, None])[:, 0], entropy)

    def log_probs(self, token_ids: Tensor) -> Tensor:
        """Return the log-probs of tokens (n, k), (n, k)."""
        return self.shard.pick(self.logits, token_ids) - self.log_total[:, None]

    def without(self, token_ids: Tensor) -> tuple[Side, Tensor]:
        """Return the distribution of all tokens but some (n, k), in place, and their log-prob, (n, 1)."""
        self.shard.add(self.logits, token_ids, torch.full_like(token_ids, -math.inf, dtype=self.logits.dtype))
        rest = Side.of(self.logits, self.exps, self.shard)
        return rest, (rest.maximum + rest.log_total - self.log_total)[:, None]
