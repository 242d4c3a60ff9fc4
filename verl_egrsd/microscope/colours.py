"""The quantities that colour tokens, and the ends of their scales. The colours are in `style.css`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from verl_egrsd.credit import Regime
from verl_egrsd.microscope.rollout import Run, entropy_gates

OUTLIERS = 0.99
"""Quantile of the absolute log-ratio at which its scale ends; a few tokens lie far beyond."""
ONE_SIDED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
TWO_SIDED = (0.5, 0.8, 0.95, 0.99)
"""Shares of all tokens below each stronger colour. Most quantities are near one value on nearly all tokens:
colours that follow the value would show only a few tokens."""
VISIBLE = 0.01
"""Share of a scale below which no difference is coloured, however many tokens are nearer."""
SIDE_WORDS = {
    "weight": ("the token counts less than the advantage alone", "it counts more"),
    "log_ratio": ("the teacher finds the token less likely than the student does", "more likely"),
}
"""What the two colours of a diverging quantity mean; of others: below and above the centre."""
REGIME_WORDS = (
    "Lock: the teacher is confident. Pivot (underlined): it is unsure now, and confident within the window. "
    "Fork (underlined): it is unsure throughout. Mid: in between."
)
ENTROPIES = {"teacher_entropy": "teacher entropy", "student_entropy": "student entropy"}
SCORES = {
    "student_log_prob": "log p, student",
    "teacher_log_prob": "log p, teacher",
    "log_ratio": "log-ratio",
}
CREDIT = {"advantage": "advantage", "weight": "weight", "credit": "credit"}
VIEWS = {
    "lookahead": "lookahead entropy",
    "gate_plain": "gate, plain",
    "gate_lookahead": "gate, lookahead",
    "regime": "regime",
}
"""The views of an entropy gate. All four tables give the names of arrays for the reader."""


@dataclass(frozen=True)
class Quantity:
    """A quantity that colours tokens.

    Attributes:
        key: name of the array.
        label: name for the reader.
        kind: `rising` (more is darker), `falling` (less is darker), `diverging` (two colours around `centre`)
            or `regime`.
        centre: value of a diverging quantity that has no colour.
    """

    key: str
    label: str
    kind: str
    centre: float = 0.0


def quantities(runs: Sequence[Run]) -> list[Quantity]:
    """Return the quantities that can colour the tokens of all runs."""
    factors = {factor.name: factor for run in runs for factor in run.method.active}
    weights = [
        Quantity(name, name.replace("_", " "), "falling")
        if factor.centre is None
        else Quantity(name, name.replace("_", " "), "diverging", factor.centre)
        for name, factor in factors.items()
    ]
    entropies = ENTROPIES | _views(runs, "lookahead")
    known = [
        *(Quantity(key, label, "rising") for key, label in entropies.items()),
        *weights,
        Quantity("weight", "token weight", "diverging", 1.0),
        Quantity("log_ratio", SCORES["log_ratio"], "diverging"),
        Quantity("credit", CREDIT["credit"], "diverging"),
        *(Quantity(key, label, "regime") for key, label in _views(runs, "regime").items()),
    ]
    present = set.intersection(*(run.arrays for run in runs))
    return [quantity for quantity in known if quantity.key in present]


def labels(runs: Sequence[Run]) -> dict[str, str]:
    """Return the arrays that a page shows for a token, with their names for the reader."""
    factors = {factor.name: factor.name.replace("_", " ") for run in runs for factor in run.method.active}
    gates = _views(runs, "lookahead", "gate_plain", "gate_lookahead")
    known = ENTROPIES | gates | SCORES | factors | CREDIT | _views(runs, "regime")
    present = set.intersection(*(run.arrays for run in runs))
    return {key: label for key, label in known.items() if key in present}


def curves(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what is drawn along the response: the first entropy gate and its entropy, else the weight."""
    for gate in entropy_gates(runs):
        views = {name: f"{gate.prefix}{name}" for name in VIEWS}
        return [
            {
                "title": f"{ENTROPIES[gate.column]}, nats",
                "names": [gate.column, views["lookahead"]],
                "scale": gate.column,
            },
            {
                "title": gate.name.replace("_", " "),
                "names": [views["gate_plain"], views["gate_lookahead"]],
                "scale": f"{gate.prefix}gates",
            },
        ]
    titles = {"teacher_entropy": "teacher entropy, nats", "weight": "weight"}
    present = set.intersection(*(run.arrays for run in runs))
    return [{"title": title, "names": [key], "scale": key} for key, title in titles.items() if key in present]


def scales(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return kind and ends of each quantity's scale; all pages share them, so that colours compare.

    An entropy and its lookahead share one scale. So do the two gates of a curve, under the name `gates`
    with the gate's prefix.
    """
    found = {}
    for quantity in [*quantities(runs), Quantity("weight", "weight", "diverging", 1.0)]:
        values = _all(runs, quantity.key)
        low, high = _ends(quantity, values)
        breaks = _breaks(quantity, values, low, high)
        words = _words(quantity, breaks, low, high)
        ends = {"kind": quantity.kind, "low": low, "high": high, "centre": quantity.centre}
        found[quantity.key] = {**ends, "breaks": breaks, "words": words}
    for gate in entropy_gates(runs):
        found[f"{gate.prefix}lookahead"] = found[gate.column]
        lowest = float(_all(runs, f"{gate.prefix}gate_plain").min(initial=1.0))
        found[f"{gate.prefix}gates"] = {"kind": "falling", "low": lowest, "high": 1.0}
    return found


def _breaks(quantity: Quantity, values: np.ndarray, low: float, high: float) -> list[float]:
    """Return the distances from the uncoloured end, or centre, at which the next stronger colour begins.

    Those of the credit are equal steps: nearly every token has one, and its sign is the row's.
    """
    if quantity.key == "credit":
        steps = 2 * len(TWO_SIDED)
        return [high * step / steps for step in range(1, steps, 2)]
    distances, shares = {
        "rising": (values - low, ONE_SIDED),
        "falling": (high - values, ONE_SIDED),
        "diverging": (np.abs(values - quantity.centre), TWO_SIDED),
        "regime": (values[:0], ()),
    }[quantity.kind]
    found = [max(float(np.quantile(distances, share)), VISIBLE * (high - low)) for share in shares]
    # A little less: the numbers of a page are rounded, and equal ones have to stay on one side.
    return [value * (1 - 1e-5) for value in found]


def _words(quantity: Quantity, breaks: Sequence[float], low: float, high: float) -> str:
    """Return the legend of a quantity in words."""
    if quantity.kind == "regime":
        return REGIME_WORDS
    first, last = breaks[0], breaks[-1]
    if quantity.kind == "rising":
        return (
            f"The stronger the colour, the higher. Without colour: up to {low + first:.2g}, at least half "
            f"of all tokens. Strongest: the highest hundredth, from {low + last:.2g}."
        )
    if quantity.kind == "falling":
        return (
            f"The stronger the colour, the more is taken away. Without colour: from {high - first:.2g}, at "
            f"least half of all tokens. Strongest: the lowest hundredth, up to {high - last:.2g}."
        )
    centre = f"{quantity.centre:g}"
    if quantity.key == "credit":
        return "Orange: the token is weakened. Purple: it is reinforced. The stronger the colour, the more."
    below, above = SIDE_WORDS.get(quantity.key, (f"below {centre}", f"above {centre}"))
    return (
        f"Orange: {below}. Purple: {above}. Without colour: within {first:.2g} of {centre}, at least half "
        f"of all tokens. Strongest: the hundredth farthest from {centre}, by {last:.2g} or more."
    )


def _views(runs: Sequence[Run], *names: str) -> dict[str, str]:
    """Return views of all entropy gates, with their names for the reader."""
    prefixes = [gate.prefix for gate in entropy_gates(runs)]
    return {
        f"{prefix}{name}": prefix.replace("_", " ") + VIEWS[name] for prefix in prefixes for name in names
    }


def _all(runs: Sequence[Run], key: str) -> np.ndarray:
    """Return an array of all rollouts, concatenated."""
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
