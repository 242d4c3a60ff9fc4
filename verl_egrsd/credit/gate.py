"""Confidence gate: less weight where the teacher itself is unsure.

Without a window this is the gate of EGRSD, with a window of one token or more that of CL-EGRSD.
"""

from __future__ import annotations

from functools import partial

import torch

from verl_egrsd.credit.blocks import in_row_blocks
from verl_egrsd.credit.checks import require
from verl_egrsd.credit.lookahead import write_window_min
from verl_egrsd.credit.masks import finite_entropy, response_tokens
from verl_egrsd.credit.normalise import denominator_of
from verl_egrsd.credit.types import Mask, PerToken, PerTokenOrRow


@torch.no_grad()
def entropy_gate(
    entropy: PerToken,
    response_mask: Mask,
    *,
    gamma: float,
    window: int = 0,
    floor: float = 0.1,
    denominator: str | float = "raw",
    min_denominator: float = 1.0,
    denominator_group: int | None = None,
) -> PerToken:
    """Weight of each token, without unit, (B, T); 0 outside the mask.

        omega[i,t] = clip(1 - gamma * Hn[i,t], floor, 1)

    Args:
        entropy: H of the teacher's whole next-token distribution, nats, (B, T).
        response_mask: 1 on response tokens, (B, T).
        gamma: strength, in [0, 1]; 0 gives 1 everywhere.
        window: lookahead W, tokens.
        floor: smallest weight, in (0, 1].
        denominator: "raw", "filtered" or a number of nats.
        min_denominator: lower bound of a measured denominator, nats.
        denominator_group: consecutive rows per maximum; None is the whole batch.

    Raises:
        ValueError: for gamma or floor out of range, and as
            :func:`~verl_egrsd.credit.normalise.entropy_denominator`.
    """
    tokens = response_tokens(response_mask)
    kept = finite_entropy(entropy, tokens)
    inside = tokens.to(kept.dtype)
    scale = denominator_of(kept, inside, window, denominator, min_denominator, denominator_group)
    gate = torch.empty_like(kept)
    in_row_blocks(partial(write_gate, window=window, gamma=gamma, floor=floor), gate, kept, inside, scale)
    return gate


def write_gate(
    out: PerToken,
    entropy: PerToken,
    inside: PerToken,
    scale: PerTokenOrRow,
    *,
    window: int,
    gamma: float,
    floor: float,
) -> None:
    """Write :func:`entropy_gate` of finite entropies, a mask of 0 and 1 in their dtype, and denominators."""
    require(0 <= gamma <= 1, "gamma", gamma, "in [0, 1]; 0 switches the gate off")
    require(0 < floor <= 1, "floor", floor, "in (0, 1]; the gate never reaches zero")
    write_window_min(out, entropy, inside, window=window)
    out.mul_(-gamma / scale).add_(1).clamp_(floor, 1.0).mul_(inside)
