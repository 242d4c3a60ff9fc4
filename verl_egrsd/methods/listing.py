"""`verl-egrsd methods`: the methods and their keys."""

from __future__ import annotations

from typing import Any

import yaml

from verl_egrsd.methods.method import Method
from verl_egrsd.methods.table import methods


def listing(name: str | None = None) -> str:
    """Return all methods with their summaries, or one with its keys as `algorithm.egrsd` takes them.

    Raises:
        ValueError: for an unknown method, with the known ones.
    """
    known = methods()
    if name is None:
        width = max(map(len, known))
        return "\n".join(f"{method.name:{width}}  {method.summary}" for method in known.values())
    if name not in known:
        raise ValueError(f"method {name!r} is unknown; known methods: {', '.join(known)}.")
    method = known[name]
    config: dict[str, Any] = {"algorithm": {"adv_estimator": name, "egrsd": method.keys()}}
    if method.teacher:
        config["actor_rollout_ref"] = {"teacher": dict(method.teacher)}
    return f"# {method.summary}\n# {_parts(method)}\n{yaml.safe_dump(config, sort_keys=False)}".rstrip()


def _parts(method: Method) -> str:
    advantage = f"{method.advantage.name} advantage"
    product = " x ".join([*([advantage] if method.policy_factors is None else []), *method.weighing])
    loss = f", {method.divergence.kind} divergence" if method.divergence else ""
    if method.policy_factors is not None:
        loss += (
            f", policy gradient: {' x '.join([advantage, *(each.name for each in method.policy_factors)])}"
        )
    several = ", several rollouts per prompt" if method.needs_group else ""
    return f"{product}{loss}{'' if method.uses_teacher else ', no teacher'}{several}"
