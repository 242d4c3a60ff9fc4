"""What holds over all tokens of a run: where the weight goes, and which tokens lose it.

The weight of a token is ratio * gate: what the method makes of an advantage of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from verl_egrsd.credit import Regime
from verl_egrsd.microscope.rollout import Rollout, Run
from verl_egrsd.microscope.word_class import WORD_CLASSES, word_class

DECILES = 10
POSITIONS = 20
"""Bins of the relative position in the response."""
REGIMES = (Regime.LOCK, Regime.MID, Regime.PIVOT, Regime.FORK)
AT_FLOOR = 1e-6
"""A gate this close to the floor is at the floor."""


class RegimeRow(NamedTuple):
    """A regime: share of the tokens, and mean weight that the lookahead gives back to one of them."""

    name: str
    share: float
    restored: float


class Group(NamedTuple):
    """Means over a group of tokens: teacher entropy and absolute log-ratio in nats, gate and weight."""

    name: str
    tokens: int
    entropy: float
    log_ratio: float
    gate: float
    weight: float


@dataclass(frozen=True)
class Aggregates:
    """Aggregates of a run.

    Attributes:
        rollouts: number of responses.
        tokens: number of tokens.
        regimes: the regimes that occur.
        deciles: tokens by teacher entropy, lowest first; at most ten groups of equal size.
        words: the word classes that occur, the most damped first.
        positions: tokens by their place in the response; bins without a token are left out.
        at_floor: share of tokens whose gate, before a control, is at its floor.
        weight_mass: mean weight: size of the update against direction alone.
        effective_share: share of tokens that carry the weight, (sum w)^2 / (n sum w^2); 1: all weigh alike.
    """

    rollouts: int
    tokens: int
    regimes: list[RegimeRow]
    deciles: list[Group]
    words: list[Group]
    positions: list[Group]
    at_floor: float
    weight_mass: float
    effective_share: float


def aggregate(run: Run) -> Aggregates:
    """Summarise all rollouts of a run.

    Raises:
        ValueError: for a run without a token.
    """
    tokens = _Tokens(run.rollouts)
    if not len(tokens.entropy):
        raise ValueError(f"{run.name} has no token to look at: every response is empty.")
    own_gate = tokens.gate_lookahead if run.settings.window else tokens.gate_plain
    weight = tokens.weight
    return Aggregates(
        rollouts=len(run.rollouts),
        tokens=len(weight),
        regimes=_regimes(tokens),
        deciles=_deciles(tokens),
        words=_words(run.rollouts, tokens),
        positions=_positions(run.rollouts, tokens),
        at_floor=float((own_gate <= run.settings.floor + AT_FLOOR).mean()),
        weight_mass=float(weight.mean()),
        effective_share=float(weight.sum() ** 2 / (len(weight) * (weight**2).sum())),
    )


class _Tokens:
    """The arrays of all rollouts, one behind the other, in float64."""

    def __init__(self, rollouts: Sequence[Rollout]) -> None:
        def column(name: str) -> np.ndarray:
            return np.concatenate([getattr(rollout, name) for rollout in rollouts]).astype(np.float64)

        self.entropy, self.log_ratio = column("entropy"), np.abs(column("log_ratio"))
        self.gate, self.weight = column("gate"), column("gate") * column("ratio")
        self.gate_plain, self.gate_lookahead = column("gate_plain"), column("gate_lookahead")
        self.regime = column("regime")

    def group(self, name: str, members: np.ndarray) -> Group:
        """Means over the members, given as indices or as a mask."""
        values = (self.entropy, self.log_ratio, self.gate, self.weight)
        return Group(name, len(self.entropy[members]), *(float(value[members].mean()) for value in values))


def _regimes(tokens: _Tokens) -> list[RegimeRow]:
    restored = tokens.gate_lookahead - tokens.gate_plain
    members = {regime.name.lower(): tokens.regime == regime for regime in REGIMES}
    return [
        RegimeRow(name, float(mask.mean()), float(restored[mask].mean()))
        for name, mask in members.items()
        if mask.any()
    ]


def _deciles(tokens: _Tokens) -> list[Group]:
    order = np.argsort(tokens.entropy, kind="stable")
    parts = np.array_split(order, DECILES)
    return [tokens.group(str(i), part) for i, part in enumerate(parts, start=1) if len(part)]


def _words(rollouts: Sequence[Rollout], tokens: _Tokens) -> list[Group]:
    classes = np.array([word_class(token) for rollout in rollouts for token in rollout.tokens])
    groups = [tokens.group(name, classes == name) for name in WORD_CLASSES if (classes == name).any()]
    return sorted(groups, key=lambda group: group.gate)


def _positions(rollouts: Sequence[Rollout], tokens: _Tokens) -> list[Group]:
    lengths = [len(rollout.tokens) for rollout in rollouts]
    bins = np.concatenate([np.arange(length) * POSITIONS // max(length, 1) for length in lengths])
    return [
        tokens.group(f"{100 * i // POSITIONS} %", bins == i) for i in range(POSITIONS) if (bins == i).any()
    ]
