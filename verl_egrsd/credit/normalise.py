"""Normalised entropy: nats divided by the largest entropy in sight.

The denominator comes in three kinds: the maximum of the entropies as measured ("raw", the default), the
maximum after the lookahead ("filtered"), or a number in nats. A measured maximum is taken over the rows it
is given, so call it with the whole update batch, or name the rows per maximum.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from verl_egrsd.credit.blocks import in_row_blocks
from verl_egrsd.credit.checks import require
from verl_egrsd.credit.lookahead import lookahead_min, write_window_min
from verl_egrsd.credit.masks import finite_entropy, response_tokens
from verl_egrsd.credit.types import Mask, PerToken


def normalised_entropy(
    entropy: PerToken,
    response_mask: Mask,
    *,
    window: int = 0,
    denominator: str | float = "raw",
    min_denominator: float = 1.0,
    denominator_group: int | None = None,
) -> PerToken:
    """Hn[i,t] = H^CL[i,t] / denominator, without unit, (B, T); 0 outside the mask.

    In [0, 1] for a measured denominator (up to rounding of the entropy itself); may exceed 1 for a number.
    Arguments and errors as :func:`entropy_denominator`.
    """
    tokens = response_tokens(response_mask)
    kept = finite_entropy(entropy, tokens)
    scale = denominator_of(
        kept, tokens.to(kept.dtype), window, denominator, min_denominator, denominator_group
    )
    return lookahead_min(kept, tokens, window) / scale


def entropy_denominator(
    entropy: PerToken,
    response_mask: Mask,
    *,
    window: int = 0,
    denominator: str | float = "raw",
    min_denominator: float = 1.0,
    denominator_group: int | None = None,
) -> Float[Tensor, "batch 1"]:
    """What each row's entropy is divided by, in nats, (B, 1): max(max over the group of H, min_denominator).

    Args:
        entropy: H, nats, (B, T).
        response_mask: 1 on response tokens, (B, T).
        window: lookahead W in tokens; matters here for "filtered" only.
        denominator: "raw", "filtered", or a positive number of nats that is used as it is.
        min_denominator: lower bound of a measured maximum, nats.
        denominator_group: consecutive rows per maximum; None takes one maximum over all rows.

    Raises:
        ValueError: for an unknown denominator, one that is not positive, or a B that is no multiple of
            `denominator_group`; and as :func:`~verl_egrsd.credit.lookahead.lookahead_min`.
    """
    tokens = response_tokens(response_mask)
    kept = finite_entropy(entropy, tokens)
    return denominator_of(
        kept, tokens.to(kept.dtype), window, denominator, min_denominator, denominator_group
    )


def denominator_of(
    entropy: PerToken,
    inside: PerToken,
    window: int,
    denominator: str | float,
    min_denominator: float,
    denominator_group: int | None,
) -> Float[Tensor, "batch 1"]:
    """:func:`entropy_denominator` of finite entropies and a mask of 0 and 1 in their dtype."""
    if isinstance(denominator, str):
        require(
            denominator in ("raw", "filtered"),
            "denominator",
            denominator,
            "raw, filtered or a number of nats",
        )
        require(min_denominator > 0, "min_denominator", min_denominator, "positive, in nats")
        reach = window if denominator == "filtered" else 0
        largest = torch.empty_like(entropy[:, :1])
        in_row_blocks(partial(_write_largest, window=reach), largest, entropy, inside)
        return _group_max(largest, denominator_group).clamp(min=min_denominator)
    require(0 < denominator < math.inf, "denominator", denominator, "positive, in nats, or raw or filtered")
    return torch.full_like(entropy[:, :1], denominator)


def _write_largest(out: PerToken, entropy: PerToken, inside: PerToken, *, window: int) -> None:
    """Write the largest entropy of each row after a lookahead."""
    lowest = torch.empty_like(entropy)
    write_window_min(lowest, entropy, inside, window=window)
    torch.amax(lowest, 1, keepdim=True, out=out)


def _group_max(measured: PerToken, group: int | None) -> Float[Tensor, "batch 1"]:
    rows = measured.shape[0]
    size = rows if group is None else group
    require(size >= 1, "denominator_group", group, "1 or more rows per maximum, or None for the whole batch")
    require(rows % size == 0, "denominator_group", group, f"a divisor of the number of rows, {rows}")
    return measured.reshape(rows // size, -1).amax(dim=1).repeat_interleave(size).unsqueeze(1)
