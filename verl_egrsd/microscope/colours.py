"""What tokens are coloured by, and where the colours end. The colours themselves are in `style.css`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from verl_egrsd.credit import Regime
from verl_egrsd.microscope.rollout import Run

OUTLIERS = 0.99
"""Quantile of the absolute log-ratio at which its colours end; a few tokens are far beyond."""


@dataclass(frozen=True)
class Quantity:
    """Something that tokens are coloured by.

    Attributes:
        key: name in the page's numbers.
        label: name for the reader.
        kind: `rising` (more is darker), `falling` (less is darker), `diverging` (two colours around `centre`)
            or `regime`.
        centre: value without colour, of a diverging quantity.
    """

    key: str
    label: str
    kind: str
    centre: float = 0.0


QUANTITIES = (
    Quantity("entropy", "teacher entropy", "rising"),
    Quantity("lookahead", "lookahead entropy", "rising"),
    Quantity("gate", "gate", "falling"),
    Quantity("ratio", "ratio", "diverging", 1.0),
    Quantity("log_ratio", "log-ratio", "diverging"),
    Quantity("credit", "credit", "diverging"),
    Quantity("regime", "regime", "regime"),
)


def scales(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Kind and ends of each quantity's colours, the same on all pages, so that they compare.

    The two entropies share one scale, and so do the two gates of the curve, under the name `gates`.
    """
    found = {}
    for quantity in QUANTITIES:
        arrays = [getattr(rollout, quantity.key) for run in runs for rollout in run.rollouts]
        low, high = _ends(quantity, np.concatenate(arrays).astype(np.float64))
        found[quantity.key] = {"kind": quantity.kind, "low": low, "high": high}
    found["lookahead"] = found["entropy"]
    lowest = min(float(rollout.gate_plain.min(initial=1.0)) for run in runs for rollout in run.rollouts)
    return found | {"gates": {"kind": "falling", "low": lowest, "high": 1.0}}


def _ends(quantity: Quantity, values: np.ndarray) -> tuple[float, float]:
    if quantity.kind == "rising":
        return 0.0, float(values.max()) or 1.0
    if quantity.kind == "falling":
        return float(values.min()), float(values.max())
    if quantity.kind == "regime":
        return 0.0, float(max(Regime))
    distance = np.abs(values - quantity.centre)
    width = float(np.quantile(distance, OUTLIERS) if quantity.key == "log_ratio" else distance.max()) or 1.0
    return quantity.centre - width, quantity.centre + width
