"""Causal lookahead: the lowest entropy within reach.

A token that is uncertain now but followed by a confident one is a transition, not lasting confusion; the
minimum over the next W tokens restores its weight.
"""

from __future__ import annotations

from functools import partial

import torch

from verl_egrsd.credit.blocks import in_row_blocks
from verl_egrsd.credit.checks import require
from verl_egrsd.credit.masks import finite_entropy, response_tokens
from verl_egrsd.credit.types import Mask, PerToken


@torch.no_grad()
def lookahead_min(entropy: PerToken, response_mask: Mask, window: int) -> PerToken:
    """Minimum over the window that starts at each token, in nats, (B, T).

        H^CL[i,t] = min over j in [t, min(t + W, T_i)] of H[i,j]

    The window is inclusive (W + 1 positions) and ends with the own rollout; window 0 returns the entropy.
    Padding never enters and comes back as 0. Costs about log2(W) minima of the whole tensor.

    Args:
        entropy: H, nats, (B, T).
        response_mask: 1 on response tokens, (B, T).
        window: W, tokens; may exceed T.

    Raises:
        ValueError: for a negative window, a bad mask, or an entropy that is not finite or below zero.
    """
    tokens = response_tokens(response_mask)
    kept = finite_entropy(entropy, tokens)
    lowest = torch.empty_like(kept)
    in_row_blocks(partial(write_window_min, window=window), lowest, kept, tokens.to(kept.dtype))
    return lowest


def write_window_min(out: PerToken, entropy: PerToken, inside: PerToken, *, window: int) -> None:
    """Write :func:`lookahead_min` of finite entropies and a mask of 0 and 1 in their dtype."""
    require(window >= 0, "window", window, "0 (no lookahead) or more tokens")
    if window == 0:
        torch.mul(entropy, inside, out=out)
        return
    # What no entropy exceeds is neutral to a minimum, so padding drops out of windows that reach into it.
    lowest = (1 - inside).mul_(torch.finfo(entropy.dtype).max).addcmul_(entropy, inside)
    reach = min(window + 1, lowest.shape[1])
    other, covered = torch.empty_like(lowest), 1
    while covered < reach:
        step = min(covered, reach - covered)
        torch.minimum(lowest[:, :-step], lowest[:, step:], out=other[:, :-step])
        other[:, -step:] = lowest[:, -step:]
        lowest, other = other, lowest
        covered += step
    torch.mul(lowest, inside, out=out)
