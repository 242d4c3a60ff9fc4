"""What is measured between student and teacher: `Divergence`, validated when built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from verl_egrsd.config import Checker

DivergenceKind = Literal["forward", "reverse", "jsd"]
ClipSides = Literal["upper", "both"]
Support = Literal["teacher", "student"]
Tail = Literal["bucket", "dropped", "renormalised", "teacher_renormalised"]

DIVERGENCE_SECTION = "algorithm.egrsd.divergence"
"""Where these settings stand in the configuration."""


@dataclass(frozen=True)
class Divergence:
    """D = sum over entries v of clip(f_v), with p, q the student's and the teacher's probabilities.

        forward    f = q log(q / p)                                       KL(teacher || student)
        reverse    f = p log(p / q)                                       KL(student || teacher)
        jsd        f = beta q log(q / m) + (1 - beta) p log(p / m),       m = beta q + (1 - beta) p

    Attributes:
        kind: which divergence.
        beta: the teacher's share of the mixture of `jsd`, in (0, 1).
        clip: bound of each entry's f, nats; None for no bound. A clipped entry has no gradient. With a clip,
            D may be negative, as OPSD's loss is.
        clip_sides: "upper" is min(f, clip), "both" also max(f, -clip).
        temperature: T, positive; the logits of both sides are divided by it.
        top_k: entries of the support; None takes the whole vocabulary.
        support: whose most likely entries the support holds; the choice has no gradient.
        tail: what becomes of the probability outside the support. "bucket": one more entry. "dropped": left
            out; D may then be negative, and equal distributions have a gradient. "renormalised": both sides
            are renormalised over the support. "teacher_renormalised": only the teacher is (EOPD).
    """

    kind: DivergenceKind = "forward"
    beta: float = 0.5
    clip: float | None = None
    clip_sides: ClipSides = "upper"
    temperature: float = 1.0
    top_k: int | None = None
    support: Support = "teacher"
    tail: Tail = "bucket"

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        check = Checker(DIVERGENCE_SECTION, self)
        check.one_of("kind", get_args(DivergenceKind))
        check.number("beta", lambda x: 0 < x < 1, "in (0, 1): the ends are the kinds reverse and forward")
        if self.clip is not None:
            check.number("clip", lambda x: x > 0, "positive, or null for no bound")
        check.one_of("clip_sides", get_args(ClipSides))
        check.number("temperature", lambda x: x > 0, "positive")
        if self.top_k is not None:
            check.integer("top_k", minimum=1)
        check.one_of("support", get_args(Support))
        check.one_of("tail", get_args(Tail))
