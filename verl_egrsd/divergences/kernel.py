"""The divergence of each row from hidden states, with the gradient made in the same sweep.

Rows are taken in blocks: two products give a block's logits, one sweep over slices of it, which stay in the
cache, gives D, log-probs, entropies and the gradient of the logits in place, and one more product gives that
of the student's hidden states. A head that is trained costs a fourth product. Nothing is computed twice, and
memory does not grow with the number of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from verl_egrsd.divergences.blocks import run
from verl_egrsd.divergences.call import Call, Rows
from verl_egrsd.divergences.row_loss import RowLoss
from verl_egrsd.divergences.settings import Divergence
from verl_egrsd.divergences.shards import WHOLE, Shard

UPSTREAM_TOLERANCE = 1e-3
"""Relative difference of upstream gradients that is rounding."""


def divergence(
    student_hidden: Float[Tensor, "rows width"],
    teacher_hidden: Float[Tensor, "rows width"],
    head_weight: Float[Tensor, "vocabulary width"],
    settings: Divergence,
    *,
    teacher_weight: Float[Tensor, "vocabulary width"] | None = None,
    token_ids: Int[Tensor, " rows"] | None = None,
    row_loss: RowLoss | None = None,
    score_temperature: float | None = None,
    shard: Shard | None = None,
) -> Rows:
    """Return divergence and loss of each row, differentiable in `student_hidden` and `head_weight`.

    The gradient of the head is made for the sum of the losses, before the upstream gradient is known: this
    must then be one number for all rows, so weights and masks belong into `row_loss`. The teacher gets no
    gradient.

    Args:
        student_hidden: last hidden states, (N, D).
        teacher_hidden: the teacher's, (N, D); may have another dtype.
        head_weight: the head, (V, D), of both sides where `teacher_weight` is None.
        settings: kind, clip, temperature and support.
        teacher_weight: the teacher's own head, (V, D).
        token_ids: tokens whose log-probs are wanted, (N,).
        row_loss: weights of the divergence, and a policy term.
        score_temperature: of log-probs, entropies and the policy term; None for that of the divergence.
        shard: which rows of the vocabulary both heads hold, where it is cut among ranks; the gradient of the
            hidden states is that of all of them.

    Raises:
        ValueError: for shapes that do not fit, an id outside [0, V), a row loss whose tokens are missing, a
            temperature that is not positive; in the backward pass for upstream gradients that differ, where
            the head is trained.
    """
    call = Call(
        teacher_hidden.detach(),
        head_weight.detach() if teacher_weight is None else teacher_weight.detach(),
        settings,
        token_ids,
        row_loss or RowLoss(),
        settings.temperature if score_temperature is None else score_temperature,
        shard or WHOLE,
    )
    call.require_inputs(student_hidden, head_weight)
    return Rows(*_Sweep.apply(student_hidden, head_weight, call))


class _Sweep(torch.autograd.Function):
    """Values and gradients of all rows; inputs (student_hidden, head_weight, call), outputs as `Rows`."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, call: Call) -> tuple[Tensor | None, ...]:
        with torch.autocast(hidden.device.type, enabled=False):
            rows, *gradients = run(hidden, weight, call, *ctx.needs_input_grad[:2])
        ctx.hidden_gradient, ctx.weight_gradient = gradients
        ctx.dtypes, ctx.row_loss = (hidden.dtype, weight.dtype), call.row_loss
        ctx.mark_non_differentiable(*(value for value in rows[1:] if value is not None))
        return tuple(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, Tensor | None, None]:
        of_hidden = of_weight = None
        if ctx.needs_input_grad[0]:
            of_hidden = (ctx.hidden_gradient * upstream[:, None]).to(ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            # The head's gradient is as large as the head: it is scaled in place and handed over.
            of_weight, ctx.weight_gradient = ctx.weight_gradient, None
            if of_weight is None:
                raise RuntimeError("the head's gradient is made once: call divergence again to use it again.")
            counted = ctx.row_loss.counted(len(upstream))
            of_weight = of_weight.mul_(_one_upstream(upstream[counted])).to(ctx.dtypes[1])
        return of_hidden, of_weight, None


def _one_upstream(upstream: Tensor) -> Tensor:
    """Return the number that all upstream gradients are; 0 where there is none."""
    if not len(upstream):
        return upstream.new_zeros(())
    first = upstream[0]
    if ((upstream - first).abs() > UPSTREAM_TOLERANCE * first.abs()).any():
        raise ValueError(
            f"the head is trained, and the gradients of the rows' losses differ ({float(upstream.min())} to "
            f"{float(upstream.max())}): its gradient was made for their sum. "
            "Put weights and masks into row_loss."
        )
    return first
