"""Distillation: the loss is a divergence of the whole next-token distributions of teacher and student.

Where a method has one, the credit of a token weighs the divergence at its position, instead of the log-prob
of the sampled token: L = sum of credit * D / number of tokens. So every factor goes with every divergence.
A policy gradient may stand beside it: L = sum of (weight * credit * D - policy credit * log p_S) / tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from verl_egrsd.divergences import Divergence
from verl_egrsd.divergences.settings import NONE
from verl_egrsd.methods.part import HealthCheck, Panel, Part


@dataclass(frozen=True)
class Distillation(Divergence, Part):
    """Which divergence is the loss, on how many tokens of a response, and what it may hold in memory.

    The other keys are those of :class:`~verl_egrsd.divergences.Divergence`.

    Attributes:
        weight: what the divergence is multiplied with in the loss, beside the credit.
        first_tokens: response tokens that are distilled, counted from the first one; None distils all. The
            update then reads no further, and its mean is over these tokens.
        hidden_gigabytes: most that the hidden states of a step may take, in units of 1e9 bytes. They are the
            teacher's, and the student's too where a factor reads the divergence.
    """

    name: ClassVar[str] = "divergence"
    panels: ClassVar[tuple[Panel, ...]] = (
        Panel("divergence (nats)", ("divergence/mean",)),
        Panel(
            "entropies at the divergence's temperature (nats)",
            ("divergence/student_entropy", "divergence/teacher_entropy"),
        ),
    )

    health_checks: ClassVar[tuple[HealthCheck, ...]] = (
        HealthCheck(
            name="negative divergence",
            threshold="divergence_below_zero",
            metric="divergence/mean",
            limits=(-0.002, -0.1),
            unit="nats",
            reading="The divergence is {value:.4f} nats on average, in {steps}.",
            advice=(
                "A whole divergence is never below 0. What algorithm.egrsd.divergence.clip bounds, or top_k "
                "leaves out, does not count, and the loss falls by moving the student to other tokens. "
                "If accuracy falls too, raise the clip (none is no bound), or lower the learning rate."
            ),
        ),
    )

    weight: float = 1.0
    first_tokens: int | None = None
    hidden_gigabytes: float = 16.0

    def __post_init__(self) -> None:
        """Refuse values outside their range, naming key, value and remedy."""
        super().__post_init__()
        self.check.number("weight", lambda x: x > 0, "positive")
        if self.first_tokens is not None:
            self.check.integer("first_tokens", minimum=1, also=f", or {NONE} for all")
        self.check.number("hidden_gigabytes", lambda x: x > 0, "positive, in units of 1e9 bytes")

    def keys(self) -> dict[str, Any]:
        """Return the settings as a configuration writes them: `none` for None, since null is not set."""
        return {key: NONE if value is None else value for key, value in vars(self).items()}

    def kept(self, response_length: int) -> int:
        """Return how many tokens of a response are distilled."""
        return response_length if self.first_tokens is None else min(response_length, self.first_tokens)
