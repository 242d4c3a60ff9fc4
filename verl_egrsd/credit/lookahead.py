"""Causal lookahead: the lowest entropy within a window.

A token that is uncertain now but followed by a confident one is a transition, not lasting confusion; the
minimum over the next W tokens restores its weight.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from verl_egrsd.credit.checks import require
from verl_egrsd.credit.types import Mask, PerToken


@torch.no_grad()
def lookahead_min(entropy: PerToken, response_mask: Mask, window: int) -> PerToken:
    """Minimum over the window that starts at each token, in nats, (B, T).

        H^CL[i,t] = min over j in [t, min(t + W, T_i)] of H[i,j]

    The window is inclusive (W + 1 positions) and stops at the end of the rollout; window 0 returns the
    entropy. Padding never enters and becomes 0. Costs about log2(W) minima of the whole tensor.

    Args:
        entropy: H, nats, (B, T).
        response_mask: True on response tokens, (B, T).
        window: W, tokens; may exceed T.

    Raises:
        ValueError: for a negative window.
    """
    require(window >= 0, "window", window, "0 (no lookahead) or more tokens")
    if window == 0:
        return torch.where(response_mask, entropy, 0.0)
    outside = ~response_mask
    lowest = entropy.masked_fill(outside, torch.inf)
    reach, covered = min(window + 1, entropy.shape[1]), 1
    while covered < reach:
        step = min(covered, reach - covered)
        lowest = torch.minimum(lowest, pad(lowest[:, step:], (0, step), value=torch.inf))
        covered += step
    return lowest.masked_fill_(outside, 0.0)
