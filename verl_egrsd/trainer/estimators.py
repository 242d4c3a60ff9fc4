"""The names of the methods among verl's advantage estimators.

verl looks an estimator up by name before anything starts. Under `egrsd_sync` the advantage step does the
work (`advantage_step`); under any other trainer the estimator is called, and says what to set.
"""

from __future__ import annotations

from typing import Any, NoReturn

from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, register_adv_est

from verl_egrsd.methods import methods


def needs_egrsd_sync(*_: Any, config: Any, **__: Any) -> NoReturn:
    """Refuse to be called: a trainer of verl computes no teacher scores.

    Raises:
        ValueError: naming the key to set.
    """
    raise ValueError(
        f"algorithm.adv_estimator={config.adv_estimator} needs the teacher's scores, which this trainer "
        "does not compute: set trainer.v1.trainer_mode=egrsd_sync (and trainer.use_v1=True)."
    )


def register_estimators() -> None:
    """Make every method known to verl, those too that were added since the last call.

    Raises:
        ValueError: when a method has the name of an estimator of verl.
    """
    for name in methods():
        known = ADV_ESTIMATOR_REGISTRY.get(name)
        if known is None:
            register_adv_est(name)(needs_egrsd_sync)
        elif known is not needs_egrsd_sync:
            raise ValueError(
                f"the method {name!r} has the name of an estimator of verl: choose another name."
            )


register_estimators()
