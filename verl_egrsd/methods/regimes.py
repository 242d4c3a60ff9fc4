"""Which tokens the gate and the lookahead act on: the regimes, with limits that are running quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from verl_egrsd.credit import Regime, lookahead_min, normalised_entropy, token_regimes
from verl_egrsd.credit.types import PerTokenIndex
from verl_egrsd.methods.columns import Columns

if TYPE_CHECKING:
    from verl_egrsd.methods.entropy_gate import EntropyGate

DEFAULT_LOOKAHEAD = 3
"""Tokens; a gate without a lookahead is shown beside the one with this."""


class RunningQuantiles:
    """Quantiles of the normalised entropy over all tokens so far, from a histogram on [0, 1]."""

    def __init__(self, bins: int = 1000) -> None:
        self.counts = torch.zeros(bins, dtype=torch.int64)

    def update(self, values: Float[Tensor, " tokens"]) -> None:
        """Count values; those above 1 (a fixed denominator allows them) enter the last bin."""
        bins = len(self.counts)
        index = (values.double() * bins).long().clamp(0, bins - 1)
        self.counts += torch.bincount(index, minlength=bins)

    def quantile(self, q: float) -> float:
        """Return the upper edge of the bin that holds quantile q, in units of normalised entropy."""
        shares = self.counts.cumsum(0) / self.counts.sum()
        index = int(torch.searchsorted(shares, torch.tensor(q, dtype=shares.dtype)))
        return (min(index, len(self.counts) - 1) + 1) / len(self.counts)


class RegimeTracker:
    """Shares of the four regimes in each step, and views of the gate on single tokens.

    Args:
        gate: the gate; its column names the entropy.
    """

    def __init__(self, gate: EntropyGate) -> None:
        self.gate = gate
        self.quantiles = RunningQuantiles()

    def update(self, columns: Columns) -> dict[str, float]:
        """Take in a step; return the share of each regime."""
        mask = columns.response_mask
        entropy = columns.column(self.gate.column)
        self.quantiles.update(normalised_entropy(entropy, mask, **self.gate.denominator_keys())[mask])
        regimes = regimes_of(self.gate, columns, **self._limits())[mask]
        return {
            f"{self.gate.prefix}regime/{regime.name.lower()}": float((regimes == regime).float().mean())
            for regime in Regime
            if regime != Regime.NONE
        }

    def views(self, columns: Columns) -> dict[str, Tensor]:
        """Return :func:`gate_views` under the running quantiles."""
        return gate_views(self.gate, columns, **self._limits())

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return {"counts": self.quantiles.counts.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counts."""
        self.quantiles.counts = torch.tensor(state["counts"], dtype=torch.int64)

    def _limits(self) -> dict[str, float]:
        quantiles = {"low": self.gate.lock_quantile, "high": self.gate.fork_quantile}
        return {side: self.quantiles.quantile(q) for side, q in quantiles.items()}


def gate_views(gate: EntropyGate, columns: Columns, *, low: float, high: float) -> dict[str, Tensor]:
    """Return the lowest entropy within the window (nats), the gate without and with lookahead, the regime.

    The names begin with the gate's prefix, so that two gates of one method keep their views apart.

    Args:
        gate: a gate without a lookahead is shown with the default lookahead.
        columns: of one update batch.
        low: up to here a token is confident, in units of normalised entropy.
        high: from here on it is uncertain.
    """
    entropy, mask = columns.column(gate.column), columns.response_mask
    window = gate.window or DEFAULT_LOOKAHEAD
    views = {
        "lookahead": lookahead_min(entropy, mask, window),
        "gate_plain": replace(gate, window=0).gate(entropy, mask),
        "gate_lookahead": replace(gate, window=window).gate(entropy, mask),
        "regime": regimes_of(gate, columns, low=low, high=high),
    }
    return {f"{gate.prefix}{name}": values for name, values in views.items()}


def regimes_of(gate: EntropyGate, columns: Columns, *, low: float, high: float) -> PerTokenIndex:
    """Return the regime of each token, (B, T); arguments as :func:`gate_views`."""
    entropy, mask = columns.column(gate.column), columns.response_mask
    window = gate.window or DEFAULT_LOOKAHEAD
    return token_regimes(entropy, mask, window, low=low, high=high, **gate.denominator_keys())
