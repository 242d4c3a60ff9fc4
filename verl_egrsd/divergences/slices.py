"""One slice of rows: its logits become values, and the gradient of its losses."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_egrsd.divergences.call import Call, Rows
from verl_egrsd.divergences.sides import Side
from verl_egrsd.divergences.support import supported
from verl_egrsd.divergences.whole import SWEEPS


def sweep(student_logits: Tensor, teacher_logits: Tensor, memory: Tensor, call: Call, rows: slice) -> Rows:
    """Return the values of some rows, n; the student's logits become the gradient of the sum of their losses.

    Args:
        student_logits: (n, V), before the temperature.
        teacher_logits: (n, V); destroyed.
        memory: (2, n, V), or (3, n, V) where scores have a temperature of their own.
        call: the whole call.
        rows: which rows of the call these are.
    """
    settings, shard, apart = call.settings, call.shard, call.scored_apart
    ids = None if call.token_ids is None else call.token_ids[rows]
    if apart:
        at_score = torch.div(teacher_logits, call.score_temperature, out=memory[0])
        teacher_scores = Side.of(at_score, memory[1], shard).scores(ids)
        at_score = torch.div(student_logits, call.score_temperature, out=memory[0])
        scored = Side.of(at_score, memory[2], shard)
        student_scores = scored.scores(ids)
    if settings.temperature != 1:
        student_logits.div_(settings.temperature), teacher_logits.div_(settings.temperature)
    student, teacher = Side.of(student_logits, memory[0], shard), Side.of(teacher_logits, memory[1], shard)
    if not apart:
        student_scores, teacher_scores = student.scores(ids), teacher.scores(ids)
    terms = call.row_loss.terms(rows, *student_scores)
    slope = terms.slope / call.score_temperature
    together = torch.zeros_like(slope) if apart else slope
    measure = SWEEPS[settings.kind] if settings.top_k is None else supported
    found = measure(student, teacher, settings, terms.weight / settings.temperature, together)
    if ids is not None and call.row_loss.advantages is not None:
        if apart:
            student_logits.sub_(scored.exps.mul_((slope / scored.total)[:, None]))
        shard.add(student_logits, ids[:, None], slope[:, None])
    loss = terms.weight * found + terms.policy
    return Rows(loss, found, *student_scores, *teacher_scores)
