"""A method: credit[i,t] = sg[ A[i] * weight * weight * ... ], one weight per factor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import mul
from typing import Any, NamedTuple

import torch

from verl_egrsd.credit.masks import response_values
from verl_egrsd.credit.types import PerToken, PerTokenOrRow
from verl_egrsd.methods.advantages import FromVerl, RunningBaseline
from verl_egrsd.methods.columns import DIVERGENCE, GROUP_COLUMNS, TEACHER_COLUMNS, TEACHER_HIDDEN, Columns
from verl_egrsd.methods.distillation import Distillation
from verl_egrsd.methods.part import NAMESPACE, AdvantageSource, Factor, Part
from verl_egrsd.methods.reward import Reward


class Requirement(NamedTuple):
    """What the name of a method promises about a key of `algorithm.egrsd`.

    Attributes:
        key: below `algorithm.egrsd`.
        holds: whether a value keeps the promise.
        remedy: which values do, for the error.
        without: the method to start from, for the error, where the user leaves out the part that has the key;
            None: the promise holds without that part too.
    """

    key: str
    holds: Callable[[Any], bool]
    remedy: str
    without: str | None = "another method (verl-egrsd methods)"


class Credited(NamedTuple):
    """Credit of a batch and what it is made of; all (B, T), float32, 0 outside the mask.

    Attributes:
        credit: advantage times all weights; beside a policy term the weights alone.
        advantages: A on every response token.
        weights: weight of each factor that is on, by its name.
        policy_credit: of the policy term beside a divergence, advantage times its weights; None without one.
    """

    credit: PerToken
    advantages: PerToken
    weights: dict[str, PerToken]
    policy_credit: PerToken | None = None


@dataclass(frozen=True)
class Method:
    """A name of `algorithm.adv_estimator`, and what it stands for.

    Attributes:
        name: of the method, its estimator, and its preset.
        summary: one line for the reader.
        factors: what the advantage is multiplied by; those that are off are left out.
        advantage: where the advantage comes from.
        reward: what a rollout earns.
        loss: name of the policy loss in verl.
        divergence: what the credit weighs in place of the log-prob of the sampled token; None for a policy
            gradient.
        policy_factors: factors of a policy gradient beside the divergence. The advantage is then that of the
            policy gradient, and the divergence has its own factors alone. None: the divergence is the loss.
        teacher: keys of `actor_rollout_ref.teacher` that this method sets where the user does not.
        requires: what the name promises.
    """

    name: str
    summary: str
    factors: tuple[Factor, ...] = ()
    advantage: AdvantageSource = field(default_factory=RunningBaseline)
    reward: Reward = field(default_factory=Reward)
    loss: str = "egrsd"
    divergence: Distillation | None = None
    policy_factors: tuple[Factor, ...] | None = None
    teacher: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[Requirement, ...] = ()

    def __post_init__(self) -> None:
        """Refuse parts that do not go together."""
        self._check_divergence_column()
        known = [factor.name for factor in self.all_factors]
        if twice := {name for name in known if known.count(name) > 1}:
            raise ValueError(
                f"{self.name} has the factor {min(twice)} twice, in {NAMESPACE}.factors or "
                f"{NAMESPACE}.policy_factors, with different settings: they share their keys, so give both "
                "the same."
            )
        if self.policy_factors is None:
            return
        names = [factor.name for factor in self.policy_factors]
        if self.divergence is None:
            raise ValueError(
                f"{NAMESPACE}.policy_factors={names} adds a policy gradient to a divergence, and {self.name} "
                f"is a policy gradient itself: name them in {NAMESPACE}.factors."
            )
        if self.divergence.first_tokens is not None:
            raise ValueError(
                f"{NAMESPACE}.divergence.first_tokens={self.divergence.first_tokens} cuts the responses, and "
                f"the policy gradient ({NAMESPACE}.policy_factors={names}) reads all of them: leave it unset."
            )

    def _check_divergence_column(self) -> None:
        """Refuse a factor that reads the divergence of a method without one, or of parts of the responses."""
        reading = [factor.name for factor in self.active if DIVERGENCE in factor.reads]
        if reading and self.divergence is None:
            raise ValueError(
                f"{NAMESPACE}.{reading[0]} reads the divergence over the vocabulary, and {self.name} has "
                "none: choose a method with a divergence (verl-egrsd methods), or the measure `sampled`."
            )
        if reading and self.divergence and self.divergence.first_tokens is not None:
            raise ValueError(
                f"{NAMESPACE}.divergence.first_tokens={self.divergence.first_tokens} leaves tokens without a "
                f"divergence, and {NAMESPACE}.{reading[0]} reads that of all: leave it unset."
            )

    @property
    def reads_divergence(self) -> bool:
        """Whether a factor reads the divergence of each token."""
        return DIVERGENCE in self.reads

    @property
    def all_factors(self) -> tuple[Factor, ...]:
        """The factors, those of the policy term too, each once."""
        return tuple(dict.fromkeys((*self.factors, *(self.policy_factors or ()))))

    @cached_property
    def active(self) -> tuple[Factor, ...]:
        """All factors that are on."""
        return tuple(_on(self.all_factors))

    @property
    def weighing(self) -> tuple[str, ...]:
        """The names of the factors of the credit that are on, without those of the policy term."""
        return tuple(factor.name for factor in _on(self.factors))

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything whose fields are configuration keys."""
        own = () if self.divergence is None else (self.divergence,)
        return (self.reward, self.advantage, *self.all_factors, *own)

    @cached_property
    def reads(self) -> frozenset[str]:
        """Columns that have to be computed and fetched."""
        own = {TEACHER_HIDDEN} if self.divergence else set()
        return frozenset().union(own, self.advantage.reads, *(factor.reads for factor in self.active))

    @property
    def uses_teacher(self) -> bool:
        """Whether the teacher has to read the responses."""
        return not self.reads.isdisjoint(TEACHER_COLUMNS)

    @property
    def needs_group(self) -> bool:
        """Whether a prompt needs several rollouts."""
        return not self.reads.isdisjoint(GROUP_COLUMNS)

    @property
    def is_verls(self) -> bool:
        """Whether verl's estimator gives the advantage."""
        return isinstance(self.advantage, FromVerl)

    @torch.no_grad()
    def credit(self, columns: Columns, advantages: PerTokenOrRow) -> Credited:
        """Return the credit of every response token.

        Args:
            columns: the whole update batch: some factors compare its rows.
            advantages: A, (B, 1) or (B, T).

        Raises:
            ValueError: for advantages of another shape, or one on a response token that is not finite.
        """
        mask = columns.response_mask
        if advantages.shape not in (mask.shape, (len(mask), 1)):
            raise ValueError(
                f"advantages has shape {tuple(advantages.shape)}: pass one advantage per row "
                f"{(len(mask), 1)} or per token {tuple(mask.shape)}."
            )
        tokens = mask if advantages.shape == mask.shape else mask.any(dim=1, keepdim=True)
        advantages = response_values("advantages", advantages, tokens)
        weights = {factor.name: factor.weights(columns, advantages) for factor in self.active}

        def on_tokens(values: PerTokenOrRow) -> PerToken:
            return torch.where(mask, values, 0.0).float()

        def product(start: PerTokenOrRow, factors: Iterable[Factor]) -> PerToken:
            return on_tokens(reduce(mul, (weights[factor.name] for factor in _on(factors)), start))

        spread = {name: on_tokens(weight) for name, weight in weights.items()}
        if self.policy_factors is None:
            return Credited(product(advantages, self.factors), on_tokens(advantages), spread)
        credit = product(torch.ones_like(advantages), self.factors)
        return Credited(credit, on_tokens(advantages), spread, product(advantages, self.policy_factors))

    def keys(self) -> dict[str, Any]:
        """Return the resolved section `algorithm.egrsd`: every key of every part."""
        section: dict[str, Any] = {
            "advantage": self.advantage.name,
            "factors": [factor.name for factor in self.factors],
        }
        if self.policy_factors is not None:
            section["policy_factors"] = [factor.name for factor in self.policy_factors]
        for part in self.parts:
            target = section.setdefault(part.section, {}) if part.section else section
            target.update(part.keys())
        return {key: value for key, value in section.items() if value != {}}


def _on(factors: Iterable[Factor]) -> Iterator[Factor]:
    return (factor for factor in factors if not factor.off)
