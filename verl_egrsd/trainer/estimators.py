"""Advantage estimators `egrsd`, `cl_egrsd` and `rlsd`: the length-shaped reward of each rollout.

An estimator of verl is stateless and sees scores only. So it returns the reward, and the trainer
`egrsd_sync` makes it the direction (running baseline), the magnitude and the confidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from verl.trainer.ppo.core_algos import register_adv_est

from verl_egrsd.config import ESTIMATORS
from verl_egrsd.credit import is_correct, length_shaped_reward

_completed_by_trainer: ContextVar[bool] = ContextVar("completed_by_trainer", default=False)


@contextmanager
def completed_by_trainer() -> Iterator[None]:
    """Mark that the caller turns the reward into the method's advantage."""
    token = _completed_by_trainer.set(True)
    try:
        yield
    finally:
        _completed_by_trainer.reset(token)


def length_shaped_estimator(
    token_level_rewards: Float[Tensor, "batch time"],
    response_mask: Float[Tensor, "batch time"],
    config: Any,
    **_: Any,
) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
    """Return r = 1[correct] (1 + beta (1 - length / L_max)) on every response token, twice.

    A rollout is correct when its score is above `egrsd.correct_above`; its length is the sum of its mask, in
    tokens.

    Raises:
        ValueError: under a trainer that computes no teacher scores, naming the key to set, and for a score
            that is not finite, naming the row.
    """
    if not _completed_by_trainer.get():
        raise ValueError(
            f"algorithm.adv_estimator={config.adv_estimator} needs the teacher's scores, which this trainer "
            "does not compute: set trainer.v1.trainer_mode=egrsd_sync (and trainer.use_v1=True)."
        )
    mask = response_mask.bool()
    reward = length_shaped_reward(
        correct=is_correct(torch.where(mask, token_level_rewards, 0).sum(dim=1), config.egrsd.correct_above),
        response_length=mask.sum(dim=1),
        max_response_length=config.egrsd.max_response_length,
        beta=config.egrsd.length_beta,
    )
    on_tokens = torch.where(mask, reward.unsqueeze(1), 0.0)
    return on_tokens, on_tokens


for _name in ESTIMATORS:
    register_adv_est(_name)(length_shaped_estimator)
