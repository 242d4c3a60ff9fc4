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
LABELS = {
    "teacher_entropy": "teacher entropy",
    "student_entropy": "student entropy",
    "lookahead": "lookahead entropy",
    "gate_plain": "gate, plain",
    "gate_lookahead": "gate, lookahead",
    "student_log_prob": "log p, student",
    "teacher_log_prob": "log p, teacher",
    "log_ratio": "log-ratio",
    "advantage": "advantage",
    "weight": "weight",
    "credit": "credit",
    "regime": "regime",
}
"""Names of arrays for the reader; those of the factors come between the log-ratio and the advantage."""
ENTROPIES = ("teacher_entropy", "student_entropy", "lookahead")
SHARED = ("teacher_entropy", "lookahead")
"""Entropies that share one scale."""
GATES = ("gate_plain", "gate_lookahead")


@dataclass(frozen=True)
class Quantity:
    """Something that tokens are coloured by.

    Attributes:
        key: name of the array.
        label: name for the reader.
        kind: `rising` (more is darker), `falling` (less is darker), `diverging` (two colours around `centre`)
            or `regime`.
        centre: value without colour, of a diverging quantity.
    """

    key: str
    label: str
    kind: str
    centre: float = 0.0


def quantities(runs: Sequence[Run]) -> list[Quantity]:
    """Return what the tokens of all runs can be coloured by."""
    factors = {factor.name: factor for run in runs for factor in run.method.active}
    weights = [
        Quantity(name, name.replace("_", " "), "falling")
        if factor.centre is None
        else Quantity(name, name.replace("_", " "), "diverging", factor.centre)
        for name, factor in factors.items()
    ]
    known = [
        *(
            Quantity(key, LABELS[key], "rising")
            for key in ("teacher_entropy", "student_entropy", "lookahead")
        ),
        *weights,
        *(Quantity(key, LABELS[key], "diverging") for key in ("log_ratio", "credit")),
        Quantity("regime", LABELS["regime"], "regime"),
    ]
    present = set.intersection(*(run.arrays for run in runs))
    return [quantity for quantity in known if quantity.key in present]


def labels(runs: Sequence[Run]) -> dict[str, str]:
    """Return the arrays that a page shows for a token, with their names for the reader."""
    factors = {factor.name: factor.name.replace("_", " ") for run in runs for factor in run.method.active}
    names = list(LABELS)
    ordered = names[: names.index("advantage")], names[names.index("advantage") :]
    known = {key: LABELS.get(key) or factors[key] for key in (*ordered[0], *factors, *ordered[1])}
    present = set.intersection(*(run.arrays for run in runs))
    return {key: label for key, label in known.items() if key in present}


def curves(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what is drawn along the response: entropies and gates, or the weight where there is no gate."""
    present = set.intersection(*(run.arrays for run in runs))
    entropies = [key for key in SHARED if key in present]
    found = [{"title": "teacher entropy, nats", "names": entropies, "scale": SHARED[0]}] if entropies else []
    if {*GATES} <= present:
        return [*found, {"title": "entropy gate", "names": list(GATES), "scale": "gates"}]
    return [*found, {"title": "weight", "names": ["weight"], "scale": "weight"}]


def scales(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Kind and ends of each quantity's colours, the same on all pages, so that they compare.

    The two entropies share one scale, and so do the two gates of the curve, under the name `gates`.
    """
    found = {}
    for quantity in [*quantities(runs), Quantity("weight", "weight", "diverging", 1.0)]:
        low, high = _ends(quantity, _all(runs, quantity.key))
        found[quantity.key] = {"kind": quantity.kind, "low": low, "high": high}
    if "lookahead" in found:
        found["lookahead"] = found["teacher_entropy"]
        lowest = float(_all(runs, "gate_plain").min(initial=1.0))
        found["gates"] = {"kind": "falling", "low": lowest, "high": 1.0}
    return found


def _all(runs: Sequence[Run], key: str) -> np.ndarray:
    """Return an array of all rollouts, one behind the other."""
    return np.concatenate([rollout[key] for run in runs for rollout in run.rollouts]).astype(np.float64)


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
