"""Magnitude: how far the informed teacher and the student disagree on the sampled token.

The exponent carries the sign of the advantage. A token of a correct answer weighs more if the teacher finds
it likelier than the student does, a token of a wrong answer if the teacher finds it less likely. The ratio
is positive, so it never turns the direction around.
"""

from __future__ import annotations

import torch

from verl_egrsd.credit.checks import require, require_same_shape
from verl_egrsd.credit.masks import at_least_float32
from verl_egrsd.credit.types import PerToken, PerTokenOrRow

FAR_BEYOND_THE_CLIP = 100.0
"""Nats; no eps below 1 has a clip that reaches log(1 - eps) = -40, in double precision either."""


def likelihood_ratio(
    teacher_log_prob: PerToken,
    student_log_prob: PerToken,
    advantages: PerTokenOrRow,
    *,
    clip: float = 0.2,
) -> PerToken:
    """Ratio of the two likelihoods, clipped around 1, without unit, (B, T).

        w[i,t] = clip(exp(sign(A[i]) * (log p_T[i,t] - sg[log p_S[i,t]])), 1 - eps, 1 + eps)

    An advantage of 0 gives exactly 1. Finite input never gives NaN: an exponential that overflows is
    clipped to 1 + eps.

    Args:
        teacher_log_prob: log p_T of the sampled token, nats, (B, T).
        student_log_prob: log p_S of the same token, nats, (B, T).
        advantages: A, (B, 1) or (B, T).
        clip: eps, in [0, 1); 0 gives 1 everywhere.

    Raises:
        ValueError: for a clip out of range, or shapes that do not match.
    """
    require_same_shape(teacher_log_prob=teacher_log_prob, student_log_prob=student_log_prob)
    sign = expand_advantages(advantages, teacher_log_prob).sign()
    student = at_least_float32(student_log_prob).detach()
    return ratio_of(at_least_float32(teacher_log_prob), student, sign, clip)


def ratio_of(
    teacher: PerToken,
    student: PerToken,
    sign: PerTokenOrRow,
    clip: float,
    *,
    out: PerToken | None = None,
) -> PerToken:
    """:func:`likelihood_ratio` of finite values and the sign of the advantage; 0 gives exactly 1."""
    require(0 <= clip < 1, "clip", clip, "in [0, 1); 0 switches the magnitude off")
    # The difference may overflow, and 0 times infinity would be NaN.
    difference = torch.sub(teacher, student, out=out).clamp_(-FAR_BEYOND_THE_CLIP, FAR_BEYOND_THE_CLIP)
    return difference.mul_(sign).exp_().clamp_(1 - clip, 1 + clip)


def expand_advantages(advantages: PerTokenOrRow, like: PerToken) -> PerToken:
    """Advantages per token, (B, T), from (B, 1) or (B, T), in at least float32.

    Raises:
        ValueError: for any other shape, naming both.
    """
    if advantages.shape not in (like.shape, (like.shape[0], 1)):
        raise ValueError(
            f"advantages has shape {tuple(advantages.shape)} but the log-probabilities have shape "
            f"{tuple(like.shape)}: pass one advantage per row (batch, 1) or per token (batch, time)."
        )
    return at_least_float32(advantages).expand(like.shape)
