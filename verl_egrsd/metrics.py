"""What a step reports under `egrsd/`: is the gate acting, is the ratio clipped, who gets the credit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl_egrsd.config import DEFAULT_LOOKAHEAD, EgrsdConfig
from verl_egrsd.credit import Regime, TokenCredit, entropy_gate, normalised_entropy, token_regimes
from verl_egrsd.reward import REASONS


class RunningQuantiles:
    """Quantiles of the normalised entropy over all tokens so far, from a histogram on [0, 1]."""

    def __init__(self, bins: int = 1000) -> None:
        self.counts = torch.zeros(bins, dtype=torch.int64)

    def update(self, values: Float[Tensor, " tokens"]) -> None:
        """Count values; those above 1 (a fixed denominator allows them) enter the last bin."""
        bins = len(self.counts)
        index = (values.double() * bins).long().clamp(0, bins - 1)
        self.counts += torch.bincount(index, minlength=bins)

    def quantile(self, q: float) -> float:
        """Return the upper edge of the bin that holds quantile q, in units of normalised entropy."""
        shares = self.counts.cumsum(0) / self.counts.sum()
        index = int(torch.searchsorted(shares, torch.tensor(q, dtype=shares.dtype)))
        return (min(index, len(self.counts) - 1) + 1) / len(self.counts)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return {"counts": self.counts.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counts."""
        self.counts = torch.tensor(state["counts"], dtype=torch.int64)


def credit_metrics(
    result: TokenCredit,
    teacher_log_prob: Float[Tensor, "batch time"],
    student_log_prob: Float[Tensor, "batch time"],
    teacher_entropy: Float[Tensor, "batch time"],
    response_mask: Bool[Tensor, "batch time"],
    config: EgrsdConfig,
    quantiles: RunningQuantiles,
) -> dict[str, float]:
    """Summarise one update batch of real rows; also feeds the running quantiles of the regimes."""
    mask = response_mask.bool()
    entropy, ratio, gate = teacher_entropy[mask], result.ratio[mask], result.gate[mask]
    plain = entropy_gate(teacher_entropy, mask, **_gate_settings(config) | {"window": 0})[mask]
    lookahead = entropy_gate(teacher_entropy, mask, **_gate_settings(config))[mask]
    edge = 1e-6
    # With clip 0 every ratio is 1 and none is clipped.
    low, high = (1 - config.clip + edge, 1 + config.clip - edge) if config.clip else (0.0, math.inf)
    metrics = {
        "teacher_entropy/mean": entropy.mean(),
        "teacher_entropy/max": entropy.max(),
        "gate/mean": gate.mean(),
        "gate/min": gate.min(),
        "gate/share_at_floor": (lookahead <= config.floor + edge).float().mean(),
        "ratio/mean": ratio.mean(),
        "ratio/share_clipped_low": (ratio <= low).float().mean(),
        "ratio/share_clipped_high": (ratio >= high).float().mean(),
        "log_ratio/abs_mean": (teacher_log_prob - student_log_prob)[mask].abs().mean(),
        "weight/mean": (ratio * gate).mean(),
        "weight/restored_by_lookahead": (lookahead - plain).mean(),
        **_regime_shares(teacher_entropy, mask, config, quantiles),
    }
    return {f"egrsd/{name}": float(value) for name, value in metrics.items()}


def rollout_metrics(
    credit: Float[Tensor, "batch time"],
    advantages: Float[Tensor, " batch"],
    rewards: Float[Tensor, " batch"],
    correct: Bool[Tensor, " batch"],
    truncated: Bool[Tensor, " batch"],
    response_mask: Bool[Tensor, "batch time"],
) -> dict[str, float]:
    """Summarise reward, direction and length of the real rows of one step; lengths in tokens."""
    mask = response_mask.bool()
    length = mask.sum(dim=1).float()
    metrics = {
        "egrsd/reward/mean": rewards.mean(),
        "egrsd/reward/std": rewards.std(unbiased=False),
        "egrsd/correct": correct.float().mean(),
        "egrsd/direction/share_positive": (advantages > 0).float().mean(),
        "egrsd/credit/abs_mean": credit[mask].abs().mean(),
        "egrsd/response_length/mean": length.mean(),
        "egrsd/truncated": truncated.float().mean(),
    }
    for name, rows in (("right", correct), ("wrong", ~correct)):
        if rows.any():
            metrics[f"egrsd/response_length/{name}"] = length[rows].mean()
    return {name: float(value) for name, value in metrics.items()}


def verdict_metrics(scores: Sequence[Mapping[str, Any]], correct: Bool[Tensor, " batch"]) -> dict[str, float]:
    """Summarise the verdicts on the real rows of one step.

    Args:
        scores: what the reward function returned beside the score, one mapping per row; shares of the reasons
            are reported where it is ours.
        correct: rows with a score above `algorithm.egrsd.correct_above`.
    """
    metrics = {"egrsd/verdict/none_correct": float(not correct.any())}
    flags = (*REASONS, "disagreement")
    # A reward function of somebody else may have an `error` of its own, as text.
    if all(flag in score for score in scores for flag in flags):
        for flag in flags:
            metrics[f"egrsd/verdict/{flag}"] = sum(score[flag] for score in scores) / len(scores)
    return metrics


def _gate_settings(config: EgrsdConfig) -> dict[str, Any]:
    return {
        "gamma": config.gamma,
        "window": config.window,
        "floor": config.floor,
        **denominator_settings(config),
    }


def denominator_settings(config: EgrsdConfig) -> dict[str, Any]:
    """Return the settings that say what the entropy is divided by."""
    group = config.denominator_group
    return {
        "denominator": config.denominator,
        "min_denominator": config.min_denominator,
        "denominator_group": None if isinstance(group, str) else group,
    }


def _regime_shares(
    entropy: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    config: EgrsdConfig,
    quantiles: RunningQuantiles,
) -> dict[str, Tensor]:
    """Shares of the four regimes; without a lookahead of its own, EGRSD is judged with the default one."""
    settings = denominator_settings(config)
    quantiles.update(normalised_entropy(entropy, mask, **settings)[mask])
    regimes = token_regimes(
        entropy,
        mask,
        config.window or DEFAULT_LOOKAHEAD,
        low=quantiles.quantile(config.lock_quantile),
        high=quantiles.quantile(config.fork_quantile),
        **settings,
    )[mask]
    names = (Regime.LOCK, Regime.MID, Regime.PIVOT, Regime.FORK)
    return {f"regime/{regime.name.lower()}": (regimes == regime).float().mean() for regime in names}
