"""Divergences over the k most likely entries of one side, with what the setting `tail` makes of the rest.

The entries are those of the support K and, with a bucket, one more that joins all others, of log-prob r. With
g = df / ds of each entry, G their sum and p~ the student renormalised over K, dD/dx_j is

                    on K             outside
    bucket          g_j - p_j G      exp(s_j - r) (g_r - exp(r) G)
    renormalised    g_j - p~_j G     0
    others          g_j - p_j G      -p_j G
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from verl_egrsd.divergences.settings import Divergence
from verl_egrsd.divergences.sides import Side
from verl_egrsd.divergences.whole import LARGEST_GAP


def supported(student: Side, teacher: Side, settings: Divergence, weight: Tensor, slope: Tensor) -> Tensor:
    """Return D of each row, and leave weight dD/dx - slope p in place of the student's logits."""
    assert settings.top_k is not None
    shard, (weight, slope) = student.shard, (weight[:, None], slope[:, None])
    chooser = student if settings.support == "student" else teacher
    chosen = shard.top_k(chooser.logits, settings.top_k)
    s, t = student.log_probs(chosen), teacher.log_probs(chosen)
    own, outside = s.exp(), student
    if settings.tail == "bucket":
        outside, s_rest = student.without(chosen)
        _, t_rest = teacher.without(chosen)
        s, t = torch.cat([s, s_rest], dim=1), torch.cat([t, t_rest], dim=1)
    if settings.tail == "renormalised":
        s = s.log_softmax(dim=1)
    if settings.tail in ("renormalised", "teacher_renormalised"):
        t = t.log_softmax(dim=1)
    share, slopes, total = _entries(s, t, settings)
    centred = slopes - s.exp() * total
    if settings.tail == "bucket":
        on_support = weight * centred[:, :-1] - slope * own
        elsewhere = weight * centred[:, -1:] - slope * s[:, -1:].exp()
    elif settings.tail == "renormalised":
        on_support, elsewhere = weight * centred, -slope
    else:
        on_support, elsewhere = weight * slopes, -(weight * total + slope)
    torch.mul(outside.exps, elsewhere / outside.total[:, None], out=student.logits)
    shard.add(student.logits, chosen, on_support)
    return share.sum(dim=1)


def _entries(s: Tensor, t: Tensor, settings: Divergence) -> tuple[Tensor, Tensor, Tensor]:
    """Return (f, g, G), with G (n, 1), clipped; s and t are (n, entries).

    Where both sides sum to 1, G is written so that equal sides have g = p G exactly.
    """
    p, q, gap, beta = s.exp(), t.exp(), s - t, settings.beta
    sum_to_one = settings.tail in ("bucket", "renormalised")
    if settings.kind == "forward":
        share, over = _clipped(-q * gap, settings)
        slopes = -q.masked_fill(over, 0.0)
        if sum_to_one:
            return share, slopes, (q * over).sum(dim=1, keepdim=True) - 1
    elif settings.kind == "reverse":
        share, over = _clipped(p * gap, settings)
        # Where p sums to 1, a constant in g / p cancels; here -1.
        constant = 0.0 if sum_to_one else 1.0
        slopes = p * (gap + constant).masked_fill(over, constant - 1)
    else:
        gap = gap.clamp(-LARGEST_GAP, LARGEST_GAP)
        lift = torch.log1p(beta * torch.expm1(-gap))
        share, over = _clipped(-beta * q * (gap + lift) - (1 - beta) * p * lift, settings)
        slopes = (beta - 1) * p * lift.masked_fill(over, 0.0)
    return share, slopes, slopes.sum(dim=1, keepdim=True)


def _clipped(share: Tensor, settings: Divergence) -> tuple[Tensor, Tensor]:
    """Return the clipped shares, and which were clipped."""
    if settings.clip is None:
        return share, torch.zeros_like(share, dtype=torch.bool)
    low = -settings.clip if settings.clip_sides == "both" else -math.inf
    return share.clamp(low, settings.clip), (share > settings.clip) | (share < low)
