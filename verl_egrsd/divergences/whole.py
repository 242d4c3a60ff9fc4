"""Divergences over the whole vocabulary: one slice of logits becomes D and the gradient, in place.

With g_v = df_v / ds_v where f_v is not clipped, else 0, and s the student's log-probs,

    dD/dx_j = g_j - p_j sum_v g_v

    forward g = -q,      reverse g = p (s - t + 1),      jsd g = (1 - beta) p (s - log m)

The sums are written so that equal distributions have a gradient of exactly 0; capitals below are such sums.
Each function destroys both sides, and leaves in place of the student's logits

    weight dD/dx - slope p
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from verl_egrsd.divergences.settings import Divergence
from verl_egrsd.divergences.sides import Side

LARGEST_GAP = 80.0
"""Of two log-probs in the mixture of `jsd`; at this gap the smaller probability is below 1e-34."""

Sweep = Callable[[Side, Side, Divergence, Tensor, Tensor], Tensor]


def forward_kl(student: Side, teacher: Side, settings: Divergence, weight: Tensor, slope: Tensor) -> Tensor:
    """KL(teacher || student): dD/dx = p K - q where kept, K the teacher's probability of what is kept."""
    gap = teacher.logits.sub_(student.logits)
    offset = student.log_total - teacher.log_total
    kept = torch.ones_like(weight)
    if settings.clip is None:
        found = teacher.mean(gap) + offset
    else:
        share = gap.add_(offset[:, None]).mul_(teacher.exps)
        over = clip_(share, settings, teacher.total)
        found = teacher.sum(share) / teacher.total
        kept = teacher.sum(teacher.exps.masked_fill_(over, 0.0)) / teacher.total
    student.exps.mul_(((weight * kept - slope) / student.total)[:, None])
    teacher.exps.mul_((weight / teacher.total)[:, None])
    torch.sub(student.exps, teacher.exps, out=student.logits)
    return found


def reverse_kl(student: Side, teacher: Side, settings: Divergence, weight: Tensor, slope: Tensor) -> Tensor:
    """KL(student || teacher): dD/dx = p (u - U), u = s - t where kept, else -1; a constant in u cancels."""
    gap = student.logits.sub_(teacher.logits).add_((teacher.log_total - student.log_total)[:, None])
    if settings.clip is None:
        found = mean = student.mean(gap)
    else:
        share = torch.mul(student.exps, gap, out=teacher.logits)
        over = clip_(share, settings, student.total)
        found = student.sum(share) / student.total
        mean = student.mean(gap.masked_fill_(over, -1.0))
    centre_(gap, student, weight, mean, slope)
    return found


def jsd(student: Side, teacher: Side, settings: Divergence, weight: Tensor, slope: Tensor) -> Tensor:
    """JSD: dD/dx = -(1 - beta) p (c - C), c = log m - s = log(1 + beta (q / p - 1)) where kept, else 0."""
    beta = settings.beta
    gap = torch.sub(teacher.logits, student.logits, out=student.logits)
    gap.add_((student.log_total - teacher.log_total)[:, None]).clamp_(-LARGEST_GAP, LARGEST_GAP)
    lift = torch.expm1(gap, out=teacher.logits).mul_(beta).log1p_()
    mean = student.mean(lift)
    if settings.clip is None:
        found = beta * (teacher.mean(gap) - teacher.mean(lift)) - (1 - beta) * mean
    else:
        share = gap.sub_(lift).mul_(teacher.exps).mul_((beta / teacher.total)[:, None])
        own = torch.mul(student.exps, lift, out=teacher.exps).mul_(((1 - beta) / student.total)[:, None])
        over = clip_(share.sub_(own), settings, torch.ones_like(weight))
        found = student.sum(share)
        mean = student.mean(lift.masked_fill_(over, 0.0))
    student.logits.copy_(lift)
    centre_(student.logits, student, (beta - 1) * weight, mean, slope)
    return found


def clip_(share: Tensor, settings: Divergence, total: Tensor) -> Tensor:
    """Clip the shares, which are still to be divided by `total`, in place; return which were clipped."""
    assert settings.clip is not None
    bound = (settings.clip * total)[:, None]
    over = share > bound
    if settings.clip_sides == "both":
        over |= share < -bound
        torch.maximum(share, -bound, out=share)
    torch.minimum(share, bound, out=share)
    return over


def centre_(values: Tensor, side: Side, weight: Tensor, mean: Tensor, slope: Tensor) -> None:
    """values = p (weight (values - mean) - slope), in place."""
    values.mul_((weight / side.total)[:, None])
    values.sub_(((weight * mean + slope) / side.total)[:, None]).mul_(side.exps)


SWEEPS: dict[str, Sweep] = {"forward": forward_kl, "reverse": reverse_kl, "jsd": jsd}
