"""Names that verl looks up late: it notices a misspelt one when the workers start, or in the first step."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from omegaconf import DictConfig


def check_names(config: DictConfig) -> None:
    """Refuse an estimator, a rollout engine or a logger that verl does not know.

    Raises:
        ValueError: naming the key, the name, the nearest known one and all of them.
    """
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
    from verl.utils.tracking import Tracking
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY

    from verl_egrsd.trainer.estimators import register_estimators

    register_estimators()
    _known("algorithm.adv_estimator", config.algorithm.adv_estimator, ADV_ESTIMATOR_REGISTRY)
    engines = {name for name, _ in _ROLLOUT_REGISTRY}
    _known("actor_rollout_ref.rollout.name", config.actor_rollout_ref.rollout.name, engines)
    loggers = config.trainer.logger
    for logger in [loggers] if isinstance(loggers, str) else loggers:
        _known("trainer.logger", logger, Tracking.supported_backend)


def _known(key: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        nearest = get_close_matches(str(name), list(known), n=1)
        meant = f"did you mean {nearest[0]}? " if nearest else ""
        raise ValueError(f"{key}={name} is unknown to verl: {meant}Known: {', '.join(sorted(known))}.")
