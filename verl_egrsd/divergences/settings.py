"""What is measured between student and teacher: `Divergence`, validated when built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from verl_egrsd.config import Checker

DivergenceKind = Literal["forward", "reverse", "jsd"]
ClipSides = Literal["upper", "both"]
Support = Literal["teacher", "student"]
Tail = Literal["bucket", "dropped", "renormalised", "teacher_renormalised"]

DIVERGENCE_SECTION = "algorithm.egrsd.divergence"
"""Where these settings stand in the configuration."""
NONE = "none"
"""What the configuration says for None: null there means that a key is not set."""


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
        check.number("beta", lambda x: 0 < x < 1, "in (0, 1): the ends are the kinds forward and reverse")
        if self.clip is not None:
            check.number("clip", lambda x: 0 < x < math.inf, f"positive, or {NONE} for no bound")
        check.one_of("clip_sides", get_args(ClipSides))
        check.number("temperature", lambda x: 0 < x < math.inf, "positive and finite")
        if self.top_k is not None:
            check.integer("top_k", minimum=1, also=f", or {NONE} for the whole vocabulary")
        check.one_of("support", get_args(Support))
        check.one_of("tail", get_args(Tail))

    @property
    def unread(self) -> dict[str, str]:
        """Keys that are not read with these settings, and the setting that each of them needs."""
        found = {} if self.kind == "jsd" else {"beta": "kind=jsd"}
        if self.clip is None:
            found["clip_sides"] = "clip"
        return found if self.top_k is not None else found | {"support": "top_k", "tail": "top_k"}

    def require_smaller(self, vocabulary: int) -> None:
        """Refuse a support that holds a vocabulary of this size."""
        if self.top_k is not None and self.top_k >= vocabulary:
            raise ValueError(
                f"{DIVERGENCE_SECTION}.top_k={self.top_k} holds the whole vocabulary of {vocabulary}: take "
                f"fewer, or set it to {NONE}."
            )
