"""A response under the microscope: what was measured on its tokens, and what the method makes of it.

Everything that is shown comes from these arrays, whether a trainer wrote them down or a model was asked. The
formulas are those of `verl_egrsd.credit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from verl_egrsd.config import DEFAULT_LOOKAHEAD, EgrsdConfig
from verl_egrsd.credit import (
    TokenCredit,
    entropy_gate,
    lookahead_min,
    normalised_entropy,
    token_credit,
    token_regimes,
)
from verl_egrsd.metrics import RunningQuantiles, denominator_settings

Floats = NDArray[np.float32]
"""One number per token of one response, (T,)."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A response and what was measured on it.

    Attributes:
        name: what the reader finds it by, such as "step 3, rollout 5".
        problem: the student's last user turn; pairs the rollouts of two runs.
        student_prompt: text of the student's prompt, generation header included.
        teacher_prompt: text of the privileged prompt.
        ground_truth: the reference answer.
        verdict: reason of the verifier, "" where another reward was used.
        reward: the length-shaped reward.
        truncated: whether the response was cut: it does not end in an end token.
        tokens: text of each token, T of them; empty for a token that completes a character begun before.
        student_log_prob: log p_S of each token, nats, (T,).
        teacher_log_prob: log p_T of each token, nats, (T,).
        entropy: H of the teacher, nats, (T,).
        advantage: A, (T,).
    """

    name: str
    problem: str
    student_prompt: str
    teacher_prompt: str
    ground_truth: str
    verdict: str
    reward: float
    truncated: bool
    tokens: tuple[str, ...]
    student_log_prob: Floats
    teacher_log_prob: Floats
    entropy: Floats
    advantage: Floats

    def __post_init__(self) -> None:
        """Refuse arrays that do not have one number per token.

        Raises:
            ValueError: naming the rollout, the array and both lengths.
        """
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray) and len(values) != len(self.tokens):
                raise ValueError(
                    f"{name} of {self.name} has {len(values)} values for {len(self.tokens)} tokens: every "
                    "array needs one value per token of the response."
                )


@dataclass(frozen=True, eq=False)
class Rollout(Measured):
    """A response with all that the method says about its tokens; all arrays are (T,).

    Attributes:
        lookahead: lowest entropy within the window, nats.
        gate_plain: the gate without lookahead.
        gate_lookahead: the gate with lookahead.
        gate: the gate in the credit: one of the two, after the control.
        ratio: w, the clipped likelihood ratio.
        credit: A * w * gate.
        regime: values of :class:`verl_egrsd.credit.Regime`.
    """

    lookahead: Floats
    gate_plain: Floats
    gate_lookahead: Floats
    gate: Floats
    ratio: Floats
    credit: Floats
    regime: NDArray[np.int64]

    @property
    def log_ratio(self) -> Floats:
        """Log p_T - log p_S of each token, nats, (T,)."""
        return self.teacher_log_prob - self.student_log_prob


@dataclass(frozen=True)
class Run:
    """Rollouts under one set of settings.

    Attributes:
        name: what the reader calls the run: the path that it was read from.
        settings: the method's settings.
        facts: what else a reader needs to know, label to text.
        rollouts: the responses.
    """

    name: str
    settings: EgrsdConfig
    facts: Mapping[str, str]
    rollouts: Sequence[Rollout]


def shown_window(settings: EgrsdConfig) -> int:
    """Lookahead of the views, tokens: the method's own, or the default one where it has none."""
    return settings.window or DEFAULT_LOOKAHEAD


def padded(rows: Sequence[Floats]) -> Tensor:
    """Rows of different lengths as one tensor, (B, T), with zeros behind the shorter ones."""
    return pad_sequence([torch.as_tensor(np.array(row)) for row in rows], batch_first=True)


def response_mask(batch: Sequence[Measured]) -> Tensor:
    """True on the tokens of each response, (B, T)."""
    lengths = torch.tensor([len(row.tokens) for row in batch])
    return torch.arange(int(lengths.max())) < lengths.unsqueeze(1)


def credited(batch: Sequence[Measured], settings: EgrsdConfig) -> list[Rollout]:
    """Give the tokens of a batch their credit, as the trainer would.

    The thresholds of the regimes are the quantiles of this batch; the shuffled control is that of step 0.
    """
    mask, entropy = response_mask(batch), padded([row.entropy for row in batch])
    denominator = denominator_settings(settings)
    credit = token_credit(
        padded([row.advantage for row in batch]),
        padded([row.teacher_log_prob for row in batch]),
        padded([row.student_log_prob for row in batch]),
        entropy,
        mask,
        gamma=settings.gamma,
        window=settings.window,
        clip=settings.clip,
        floor=settings.floor,
        gate_control=settings.gate_control,
        seed=settings.seed,
        **denominator,
    )
    quantiles = RunningQuantiles()
    quantiles.update(normalised_entropy(entropy, mask, **denominator)[mask])
    low, high = (quantiles.quantile(q) for q in (settings.lock_quantile, settings.fork_quantile))
    return complete(batch, credit, settings, low=low, high=high)


def complete(
    batch: Sequence[Measured], credit: TokenCredit, settings: EgrsdConfig, *, low: float, high: float
) -> list[Rollout]:
    """Add what follows from the entropies to each response of one update batch.

    Args:
        batch: all rows of the batch: a measured denominator looks at all of them.
        credit: credit, ratio and gate of the batch, (B, T).
        settings: the method's settings.
        low: up to here a token is confident, in units of normalised entropy.
        high: from here on it is uncertain.
    """
    entropy, mask, window = (
        padded([row.entropy for row in batch]),
        response_mask(batch),
        shown_window(settings),
    )
    denominator = denominator_settings(settings)
    gate: dict[str, Any] = {"gamma": settings.gamma, "floor": settings.floor, **denominator}
    columns = {
        "lookahead": lookahead_min(entropy, mask, window),
        "gate_plain": entropy_gate(entropy, mask, **gate),
        "gate_lookahead": entropy_gate(entropy, mask, window=window, **gate),
        "gate": credit.gate,
        "ratio": credit.ratio,
        "credit": credit.credit,
        "regime": token_regimes(entropy, mask, window, low=low, high=high, **denominator),
    }
    return [
        Rollout(
            **vars(row) | {name: values[i, : len(row.tokens)].numpy() for name, values in columns.items()}
        )
        for i, row in enumerate(batch)
    ]
