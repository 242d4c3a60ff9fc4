"""What counts as a response token, and the values there.

:class:`verl_egrsd.methods.columns.Columns` cleans every column once with these: whatever lies in the padding
(NaN, infinity, leftovers) is replaced by 0, never multiplied by a zero of the mask. All other mathematics
works on clean columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from verl_egrsd.credit.checks import require_same_shape
from verl_egrsd.credit.types import Mask, PerToken

ENTROPY_SLACK = 1e-3
"""Nats below zero that rounding in a low-precision softmax may produce."""

RowName = Callable[[int], str]
"""How an error names a row, given its number."""


def numbered(row: int) -> str:
    """Name a row by its number."""
    return f"row {row}"


def response_tokens(response_mask: Mask) -> Bool[Tensor, "batch time"]:
    """Turn a 0/1 mask of any dtype into booleans, (B, T).

    The ones of a row are one contiguous run, which may start anywhere; a row without ones is allowed.

    Raises:
        ValueError: if the mask is not (B, T) with at least one position, holds a value other than 0 and 1,
            or has a hole inside a rollout (names the first such row).
    """
    if response_mask.dim() != 2 or response_mask.numel() == 0:
        raise ValueError(
            f"response_mask has shape {tuple(response_mask.shape)}: pass (batch, time), at least (1, 1)."
        )
    tokens = response_mask.bool()
    if response_mask.dtype != torch.bool:
        _refuse(response_mask, response_mask != tokens, "response_mask", "use 1 on response tokens, else 0")
    # A run of ones begins at the first position or behind a 0.
    begins = tokens[:, :1].int().squeeze(1) + (tokens[:, 1:] > tokens[:, :-1]).sum(dim=1, dtype=torch.int32)
    torn = begins > 1
    if torn.any():
        raise ValueError(
            f"response_mask has a hole in row {int(torn.nonzero()[0])}: multi-turn rollouts are not "
            "supported; mark one contiguous run of response tokens per row."
        )
    return tokens


def response_values(
    name: str, values: PerToken, tokens: Bool[Tensor, "batch time"], row_name: RowName = numbered
) -> PerToken:
    """Values on response tokens and 0 in the padding, (B, T), in at least float32.

    Raises:
        ValueError: if the shapes differ, or a value on a response token is not finite (names row, position).
    """
    require_same_shape(**{name: values, "response_mask": tokens})
    kept = torch.where(tokens, at_least_float32(values), 0.0)
    # NaN and infinity reach the extremes; these cost a fraction of a check of every element.
    if not torch.stack(kept.aminmax()).isfinite().all():
        _refuse(values, ~kept.isfinite(), name, "every response token needs a finite value", row_name)
    return kept


def entropy_values(
    name: str, values: PerToken, tokens: Bool[Tensor, "batch time"], row_name: RowName = numbered
) -> PerToken:
    """Entropies in nats as :func:`response_values`; rounding may leave one a little below zero.

    Raises:
        ValueError: as :func:`response_values`, or if an entropy is below -1e-3 (names row, position).
    """
    kept = response_values(name, values, tokens, row_name)
    remedy = "pass the sum of -p log p in nats, never below 0"
    _refuse(kept, kept < -ENTROPY_SLACK, name, remedy, row_name)
    return kept


def at_least_float32(values: Tensor) -> Tensor:
    """Promote half precision, integers and booleans to float32; leave float64 alone."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _refuse(
    values: Tensor,
    bad: Bool[Tensor, "batch time"],
    name: str,
    remedy: str,
    row_name: RowName = numbered,
) -> None:
    if bad.any():
        row, position = bad.nonzero()[0].tolist()
        raise ValueError(
            f"{name} is {values[row, position].item()} at {row_name(row)}, position {position}: {remedy}."
        )
