"""Controls of the gate: they take away its effect on the scale of the update, or its positions.

A gate below 1 also shrinks the mean update. `mean_preserving` keeps the shape and restores the scale;
`shuffled` keeps the weights of a rollout and changes their positions.
"""

from __future__ import annotations

import torch

from verl_egrsd.credit.checks import require
from verl_egrsd.credit.types import Mask, PerToken

GATE_CONTROLS = ("none", "mean_preserving", "shuffled")


def controlled_gate(gate: PerToken, response_mask: Mask, control: str, seed: int = 0) -> PerToken:
    """The gate under a control, (B, T); 0 outside the mask.

    Args:
        gate: omega, (B, T).
        response_mask: True on response tokens, (B, T).
        control: "none", "mean_preserving" or "shuffled".
        seed: seed of the shuffle; pass another one each step (say seed + step) for another permutation.

    Raises:
        ValueError: for an unknown control.
    """
    require(control in GATE_CONTROLS, "gate_control", control, f"one of {', '.join(GATE_CONTROLS)}")
    if control == "mean_preserving":
        return mean_one(gate, response_mask)
    if control == "shuffled":
        return _shuffled(gate, response_mask, seed)
    return gate


def mean_one(weights: PerToken, response_mask: Mask) -> PerToken:
    """Weights divided by their mean over all response tokens of the batch, (B, T); 0 outside the mask."""
    total = weights.masked_fill(~response_mask, 0.0).sum()
    return (weights * response_mask.sum() / total).masked_fill(~response_mask, 0.0)


def _shuffled(gate: PerToken, tokens: Mask, seed: int) -> PerToken:
    """omega permuted within each rollout; the same permutation on every device."""
    draws = torch.rand(gate.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    # Both orders list a row's response positions first: one at random, one from left to right.
    source = draws.to(gate.device).masked_fill(~tokens, 1.0).argsort(dim=1)
    target = (~tokens).int().argsort(dim=1, stable=True)
    return torch.zeros_like(gate).scatter(1, target, gate.gather(1, source))
