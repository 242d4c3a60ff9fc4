"""Normalised entropy: nats divided by the largest entropy of the batch.

The denominator comes in three kinds: the maximum of the entropies as measured ("raw", the default), the
maximum after the lookahead ("filtered"), or a number in nats. A measured maximum is taken over the rows it
is given, so call it with the whole update batch, or name the rows per maximum.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from verl_egrsd.credit.checks import require
from verl_egrsd.credit.lookahead import lookahead_min
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

    In [0, 1] for a measured denominator (up to rounding of the entropy); may exceed 1 for a fixed number.
    Arguments and errors as :func:`entropy_denominator`.
    """
    scale = entropy_denominator(
        entropy,
        response_mask,
        window=window,
        denominator=denominator,
        min_denominator=min_denominator,
        denominator_group=denominator_group,
    )
    return lookahead_min(entropy, response_mask, window) / scale


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
        response_mask: True on response tokens, (B, T).
        window: lookahead W in tokens; matters here for "filtered" only.
        denominator: "raw", "filtered", or a positive number of nats that is used as it is.
        min_denominator: lower bound of a measured maximum, nats.
        denominator_group: consecutive rows per maximum; None takes one maximum over all rows.

    Raises:
        ValueError: for an unknown denominator, one that is not positive, or a `denominator_group` that does
            not divide B.
    """
    if not isinstance(denominator, str):
        allowed = "positive, in nats, or raw or filtered"
        require(0 < denominator < math.inf, "denominator", denominator, allowed)
        return torch.full_like(entropy[:, :1], denominator)
    kinds = ("raw", "filtered")
    require(denominator in kinds, "denominator", denominator, "raw, filtered or a number of nats")
    require(min_denominator > 0, "min_denominator", min_denominator, "positive, in nats")
    reach = window if denominator == "filtered" else 0
    largest = lookahead_min(entropy, response_mask, reach).amax(dim=1)
    return _group_max(largest, denominator_group).clamp(min=min_denominator)


def _group_max(measured: Float[Tensor, " batch"], group: int | None) -> Float[Tensor, "batch 1"]:
    rows = len(measured)
    size = rows if group is None else group
    require(size >= 1, "denominator_group", group, "1 or more rows per maximum, or None for the whole batch")
    require(rows % size == 0, "denominator_group", group, f"a divisor of the number of rows, {rows}")
    return measured.reshape(rows // size, size).amax(dim=1).repeat_interleave(size).unsqueeze(1)
