"""Per-token credit: direction x magnitude x gate.

    credit[i,t] = sg[ A[i] * w[i,t] * omega[i,t] ]

The advantage says whether a rollout is reinforced, the ratio where teacher and student disagree, the gate
where the teacher is sure. gamma 0 leaves direction and magnitude; clip 0 leaves direction and gate.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from verl_egrsd.credit.blocks import in_row_blocks
from verl_egrsd.credit.controls import controlled_gate
from verl_egrsd.credit.gate import write_gate
from verl_egrsd.credit.masks import (
    at_least_float32,
    finite_entropy,
    finite_values,
    response_tokens,
    response_values,
)
from verl_egrsd.credit.normalise import denominator_of
from verl_egrsd.credit.ratio import expand_advantages, ratio_of
from verl_egrsd.credit.types import Mask, PerToken, PerTokenOrRow


class TokenCredit(NamedTuple):
    """Credit and its factors, all (B, T), float32, detached.

    Attributes:
        credit: A * w * omega; 0 outside the mask.
        ratio: w; 1 outside the mask.
        gate: omega after the control; 0 outside the mask.
    """

    credit: PerToken
    ratio: PerToken
    gate: PerToken


@torch.no_grad()
def token_credit(
    advantages: PerTokenOrRow,
    teacher_log_prob: PerToken,
    student_log_prob: PerToken,
    teacher_entropy: PerToken,
    response_mask: Mask,
    *,
    gamma: float,
    window: int = 0,
    clip: float = 0.2,
    floor: float = 0.1,
    denominator: str | float = "raw",
    min_denominator: float = 1.0,
    denominator_group: int | None = None,
    gate_control: str = "none",
    seed: int = 0,
) -> TokenCredit:
    """Credit of every response token of the update batch.

    A measured denominator and the controls look at all rows: pass the whole update batch, not a shard.
    What lies in the padding changes nothing.

    Args:
        advantages: A, (B, 1) or (B, T).
        teacher_log_prob: log p_T of the sampled token, nats, (B, T).
        student_log_prob: log p_S of the same token, nats, (B, T).
        teacher_entropy: H of the teacher, nats, (B, T).
        response_mask: 1 on response tokens, (B, T).
        gamma: strength of the gate, in [0, 1].
        window: lookahead W, tokens; 0 is EGRSD.
        clip: half width of the clip around a ratio of 1, in [0, 1).
        floor: smallest gate, in (0, 1].
        denominator: "raw", "filtered" or a number of nats.
        min_denominator: lower bound of a measured denominator, nats.
        denominator_group: consecutive rows per maximum; None is the whole batch.
        gate_control: "none", "mean_preserving" or "shuffled".
        seed: seed of the shuffled control.

    Raises:
        ValueError: for an argument out of range, shapes that differ, a mask with holes, or a value on a
            response token that is not finite.
    """
    tokens = response_tokens(response_mask)
    teacher = finite_values("teacher_log_prob", teacher_log_prob, tokens)
    student = finite_values("student_log_prob", student_log_prob, tokens)
    entropy = finite_entropy(teacher_entropy, tokens)
    direction = _direction(advantages, tokens)
    inside = tokens.to(entropy.dtype)
    scale = denominator_of(entropy, inside, window, denominator, min_denominator, denominator_group)

    dtype = functools.reduce(torch.promote_types, (x.dtype for x in (teacher, student, entropy, direction)))
    columns = [torch.empty(tokens.shape, dtype=dtype, device=tokens.device) for _ in range(3)]
    write = functools.partial(_write_credit, window=window, gamma=gamma, floor=floor, clip=clip)
    in_row_blocks(write, *columns, inside, teacher, student, entropy, direction, scale)
    found = TokenCredit(*(column.float() for column in columns))
    if gate_control == "none":
        return found
    gate = controlled_gate(found.gate, tokens, gate_control, seed)
    return TokenCredit((direction * found.ratio * gate).float(), found.ratio, gate)


def _write_credit(
    credit: PerToken,
    ratio: PerToken,
    gate: PerToken,
    inside: PerToken,
    teacher: PerToken,
    student: PerToken,
    entropy: PerToken,
    direction: PerTokenOrRow,
    scale: PerTokenOrRow,
    *,
    window: int,
    gamma: float,
    floor: float,
    clip: float,
) -> None:
    """Write credit, ratio and gate of some rows, whose values are finite everywhere."""
    write_gate(gate, entropy, inside, scale, window=window, gamma=gamma, floor=floor)
    sign = torch.mul(direction.sign(), inside, out=credit)  # until the credit is known
    ratio_of(teacher, student, sign, clip, out=ratio)
    torch.mul(direction, ratio, out=credit).mul_(gate)


def _direction(advantages: PerTokenOrRow, tokens: Mask) -> PerTokenOrRow:
    """Advantages that are finite everywhere, (B, 1) or (B, T) as they came; right where there are tokens."""
    expand_advantages(advantages, tokens)
    if advantages.shape == tokens.shape:
        return finite_values("advantages", advantages, tokens)
    if advantages.isfinite().all():
        return at_least_float32(advantages)
    return response_values("advantages", advantages, tokens.any(dim=1, keepdim=True))
