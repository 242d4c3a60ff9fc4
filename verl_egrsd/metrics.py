"""What a step reports under `egrsd/`: how the factors act, and what became of the rollouts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl_egrsd.methods import Columns, Credited, Method
from verl_egrsd.methods.part import Tracker
from verl_egrsd.reward import REASONS


def method_metrics(
    method: Method, columns: Columns, credited: Credited, trackers: Mapping[str, Tracker]
) -> dict[str, float]:
    """Summarise what a method made of one update batch; also feeds the trackers."""
    mask = columns.response_mask
    metrics: dict[str, Any] = {"credit/abs_mean": credited.credit[mask].abs().mean()}
    for name, values in columns.token_columns().items():
        if name.endswith("entropy"):
            metrics |= {f"{name}/mean": values[mask].mean(), f"{name}/max": values[mask].max()}
    metrics |= factor_metrics(method, columns, credited)
    for tracker in trackers.values():
        metrics |= tracker.update(columns)
    return {f"egrsd/{name}": float(value) for name, value in metrics.items()}


def factor_metrics(method: Method, columns: Columns, credited: Credited) -> dict[str, float]:
    """Return what each factor says of its weights; names without `egrsd/`.

    `weight/mean` is the mean product of the weights that are meant to lie about 1.
    """
    mask = columns.response_mask
    metrics: dict[str, float] = {}
    for factor in method.active:
        weights = credited.weights[factor.name]
        on_tokens = weights[mask]
        summary = {"mean": on_tokens.mean(), "min": on_tokens.min(), "max": on_tokens.max()}
        summary |= factor.metrics(columns, weights)
        metrics |= {f"{factor.name}/{name}": float(value) for name, value in summary.items()}
    about_one = [factor.name for factor in method.active if factor.about_one]
    if about_one:
        metrics["weight/mean"] = float(total_weight(credited, about_one)[mask].mean())
    return metrics


def total_weight(credited: Credited, names: Collection[str] | None = None) -> Float[Tensor, "batch time"]:
    """Return the product of the weights: what the method makes of an advantage of 1.

    Args:
        credited: the credit of a batch.
        names: of the factors to multiply; all of them without.
    """
    product = torch.ones_like(credited.credit)
    for name in credited.weights if names is None else names:
        product = product * credited.weights[name]
    return product


def rollout_metrics(
    columns: Columns, advantages: Float[Tensor, " batch"], truncated: Bool[Tensor, " batch"]
) -> dict[str, float]:
    """Summarise reward, advantage and length of the valid rows of one step; lengths in tokens."""
    length, correct = columns.response_mask.sum(dim=1).float(), columns.correct
    metrics = {
        "egrsd/reward/mean": columns.rewards.mean(),
        "egrsd/reward/std": columns.rewards.std(unbiased=False),
        "egrsd/correct": correct.float().mean(),
        "egrsd/advantage/share_positive": (advantages > 0).float().mean(),
        "egrsd/response_length/mean": length.mean(),
        "egrsd/truncated": truncated.float().mean(),
    }
    for name, rows in (("right", correct), ("wrong", ~correct)):
        if rows.any():
            metrics[f"egrsd/response_length/{name}"] = length[rows].mean()
    return {name: float(value) for name, value in metrics.items()}


def verdict_metrics(scores: Sequence[Mapping[str, Any]], correct: Bool[Tensor, " batch"]) -> dict[str, float]:
    """Summarise the verdicts on the valid rows of one step.

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
