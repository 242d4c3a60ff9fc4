"""Aggregates over all tokens of a run: which tokens get the weight, and which lose it.

The weight of a token is the product of the method's factors: its credit under an advantage of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from verl_egrsd.credit import Regime
from verl_egrsd.methods import EntropyGate
from verl_egrsd.microscope.rollout import Rollout, Run, entropy_gates
from verl_egrsd.microscope.word_class import WORD_CLASSES, word_class

DECILES = 10
POSITIONS = 20
"""Bins of the relative position in the response."""
REGIMES = (Regime.LOCK, Regime.MID, Regime.PIVOT, Regime.FORK)
MEANS = ("teacher_entropy", "student_entropy", "log_ratio")
"""Arrays whose means a table shows, beside the weights. For the log-ratio it is the mean absolute value."""


class RegimeRow(NamedTuple):
    """A regime: share of the tokens, and mean weight that the lookahead gives back to one of them."""

    name: str
    share: float
    restored: float


class Group(NamedTuple):
    """Means over a group of tokens.

    Attributes:
        name: for the reader.
        tokens: number of tokens.
        means: by array: entropies and the absolute log-ratio in nats, `weight`, and each factor.
    """

    name: str
    tokens: int
    means: Mapping[str, float]


@dataclass(frozen=True)
class Aggregates:
    """Aggregates of a run.

    Attributes:
        rollouts: number of responses.
        tokens: number of tokens.
        means: names of the arrays whose means the tables show.
        regimes: the regimes that occur, of each entropy gate; empty without an entropy gate.
        deciles: tokens by teacher entropy, or by weight without one, lowest first; at most ten groups of
            equal size.
        words: the word classes that occur, lowest mean weight first.
        positions: tokens by relative position in the response; empty bins are left out.
        weight_mass: mean weight: size of the update relative to that of the advantage alone.
        effective_share: share of tokens that carry the weight, (sum w)^2 / (n sum w^2); 1 if all are equal.
    """

    rollouts: int
    tokens: int
    means: Sequence[str]
    regimes: list[RegimeRow]
    deciles: list[Group]
    words: list[Group]
    positions: list[Group]
    weight_mass: float
    effective_share: float


def aggregate(run: Run) -> Aggregates:
    """Summarise all rollouts of a run.

    Raises:
        ValueError: for a run without a token.
    """
    if not any(rollout.tokens for rollout in run.rollouts):
        raise ValueError(f"{run.name} has no token: every response is empty.")
    tokens = _Tokens(run)
    weight = tokens.arrays["weight"]
    mass = (weight**2).sum()
    return Aggregates(
        rollouts=len(run.rollouts),
        tokens=len(weight),
        means=tokens.means,
        regimes=[row for gate in entropy_gates([run]) for row in _regimes(tokens, gate)],
        deciles=_deciles(tokens),
        words=_words(run.rollouts, tokens),
        positions=_positions(run.rollouts, tokens),
        weight_mass=float(weight.mean()),
        effective_share=float(weight.sum() ** 2 / (len(weight) * mass)) if mass else 0.0,
    )


class _Tokens:
    """The arrays of all rollouts, concatenated, in float64."""

    def __init__(self, run: Run) -> None:
        self.arrays = {
            name: np.concatenate([rollout[name] for rollout in run.rollouts]).astype(np.float64)
            for name in run.arrays
        }
        if "log_ratio" in self.arrays:
            self.arrays["log_ratio"] = np.abs(self.arrays["log_ratio"])
        factors = [factor.name for factor in run.method.active]
        self.means = [name for name in (*MEANS, *factors, "weight") if name in self.arrays]

    def group(self, name: str, members: np.ndarray) -> Group:
        """Means over the members, given as indices or as a mask."""
        found = {mean: float(self.arrays[mean][members].mean()) for mean in self.means}
        return Group(name, len(self.arrays["weight"][members]), found)


def _regimes(tokens: _Tokens, gate: EntropyGate) -> list[RegimeRow]:
    lookahead, plain, regimes = (
        tokens.arrays[f"{gate.prefix}{view}"] for view in ("gate_lookahead", "gate_plain", "regime")
    )
    members = {regime.name.lower(): regimes == regime for regime in REGIMES}
    return [
        RegimeRow(
            f"{gate.prefix}{name}".replace("_", " "),
            float(mask.mean()),
            float((lookahead - plain)[mask].mean()),
        )
        for name, mask in members.items()
        if mask.any()
    ]


def _deciles(tokens: _Tokens) -> list[Group]:
    by = tokens.arrays["teacher_entropy" if "teacher_entropy" in tokens.arrays else "weight"]
    order = np.argsort(by, kind="stable")
    parts = np.array_split(order, DECILES)
    return [tokens.group(str(i), part) for i, part in enumerate(parts, start=1) if len(part)]


def _words(rollouts: Sequence[Rollout], tokens: _Tokens) -> list[Group]:
    classes = np.array([word_class(token) for rollout in rollouts for token in rollout.tokens])
    groups = [tokens.group(name, classes == name) for name in WORD_CLASSES if (classes == name).any()]
    return sorted(groups, key=lambda group: group.means["weight"])


def _positions(rollouts: Sequence[Rollout], tokens: _Tokens) -> list[Group]:
    lengths = [len(rollout.tokens) for rollout in rollouts]
    bins = np.concatenate([np.arange(length) * POSITIONS // max(length, 1) for length in lengths])
    return [
        tokens.group(f"{100 * i // POSITIONS} %", bins == i) for i in range(POSITIONS) if (bins == i).any()
    ]
