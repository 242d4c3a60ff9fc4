"""Token regimes: a diagnostic that says which tokens the gate and the lookahead act on."""

from __future__ import annotations

from enum import IntEnum

import torch

from verl_egrsd.credit.checks import require
from verl_egrsd.credit.lookahead import lookahead_min
from verl_egrsd.credit.normalise import entropy_denominator
from verl_egrsd.credit.types import Mask, PerToken, PerTokenIndex


class Regime(IntEnum):
    """Kind of a token, by its own entropy and the lowest entropy within its window."""

    NONE = -1
    """Not a response token."""
    LOCK = 0
    """Confident now."""
    MID = 1
    """In none of the other regimes."""
    PIVOT = 2
    """Uncertain now, confident within the window."""
    FORK = 3
    """Uncertain now and throughout the window."""


def token_regimes(
    entropy: PerToken,
    response_mask: Mask,
    window: int,
    *,
    low: float,
    high: float,
    denominator: str | float = "raw",
    min_denominator: float = 1.0,
    denominator_group: int | None = None,
) -> PerTokenIndex:
    """Regime of each token, int64 values of :class:`Regime`, (B, T); `Regime.NONE` outside the mask.

        lock:  Hn <= low                      fork: Hn >= high and Hn^CL >= high
        pivot: Hn >= high and Hn^CL <= low    mid:  the rest

    Both entropies share one denominator. Should low equal high, lock comes before fork and fork before
    pivot.

    Args:
        entropy: H, nats, (B, T).
        response_mask: True on response tokens, (B, T).
        window: lookahead W, tokens.
        low: up to here a token is confident, in units of Hn.
        high: from here on it is uncertain, in units of Hn.
        denominator: "raw", "filtered" or a number of nats.
        min_denominator: lower bound of a measured denominator, nats.
        denominator_group: consecutive rows per maximum; None is the whole batch.

    Raises:
        ValueError: if low exceeds high, and as :func:`~verl_egrsd.credit.normalise.entropy_denominator`.
    """
    require(low <= high, "low", low, f"at most high={high!r}")
    scale = entropy_denominator(
        entropy,
        response_mask,
        window=window,
        denominator=denominator,
        min_denominator=min_denominator,
        denominator_group=denominator_group,
    )
    here = lookahead_min(entropy, response_mask, 0) / scale
    ahead = lookahead_min(entropy, response_mask, window) / scale
    regimes = torch.full_like(here, int(Regime.MID), dtype=torch.int64)
    regimes[(here >= high) & (ahead <= low)] = int(Regime.PIVOT)
    regimes[(here >= high) & (ahead >= high)] = int(Regime.FORK)
    regimes[here <= low] = int(Regime.LOCK)
    return regimes.masked_fill(~response_mask, int(Regime.NONE))
