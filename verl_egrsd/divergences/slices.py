"""One slice of rows: its logits become values, and the gradient of its losses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from verl_egrsd.divergences.call import Call, Rows
from verl_egrsd.divergences.sides import Side, TokenScores
from verl_egrsd.divergences.support import supported
from verl_egrsd.divergences.whole import SWEEPS


class _Scored(NamedTuple):
    """TokenScores of both sides, and the student's distribution at their temperature."""

    student: TokenScores
    teacher: TokenScores
    side: Side


def sweep(x: Tensor, z: Tensor, memory: Tensor, call: Call, rows: slice) -> Rows:
    """Return the values of some rows, n; the student's logits become the gradient of the sum of their losses.

    Args:
        x: the student's logits, (n, V), before the temperature.
        z: the teacher's; destroyed.
        memory: (2, n, V), or (3, n, V) where scores have a temperature of their own.
        call: the whole call.
        rows: which rows of the call these are.
    """
    settings, shard = call.settings, call.shard
    ids = None if call.token_ids is None else call.token_ids[rows]
    scored = _scored_apart(x, z, memory, call, ids) if call.scored_apart else None
    if settings.temperature != 1:
        x /= settings.temperature
        z /= settings.temperature
    student, teacher = Side.of(x, memory[0], shard), Side.of(z, memory[1], shard)
    if scored is None:
        scored = _Scored(student.scores(ids), teacher.scores(ids), student)
    terms = call.row_loss.terms(rows, scored.student)
    slope = terms.slope / call.score_temperature
    joint = slope if scored.side is student else torch.zeros_like(slope)
    measure = SWEEPS[settings.kind] if settings.top_k is None else supported
    found = measure(student, teacher, settings, terms.weight / settings.temperature, joint)
    if ids is not None and call.row_loss.advantages is not None:
        if scored.side is not student:
            x -= scored.side.exps.mul_((slope / scored.side.total)[:, None])
        shard.add(x, ids[:, None], slope[:, None])
    return Rows(terms.weight * found + terms.policy, found, *scored.student, *scored.teacher)


def _scored_apart(x: Tensor, z: Tensor, memory: Tensor, call: Call, ids: Tensor | None) -> _Scored:
    """Score at another temperature than the divergence's; the student's distribution stays in memory[2]."""
    divided, temperature = memory[0], call.score_temperature
    teacher = Side.of(torch.div(z, temperature, out=divided), memory[1], call.shard).scores(ids)
    side = Side.of(torch.div(x, temperature, out=divided), memory[2], call.shard)
    return _Scored(side.scores(ids), teacher, side)
