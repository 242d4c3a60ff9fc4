"""The starting process asks the trainer to stop, through the store of Ray's head node, which both reach."""

from __future__ import annotations

import ray
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put


def ask_to_stop() -> None:
    """Ask the trainer of this process's job to end after its step."""
    _internal_kv_put(_key(), b"asked")


def asked_to_stop() -> bool:
    """Whether the starting process asked for it; without Ray nobody can."""
    return ray.is_initialized() and _internal_kv_get(_key()) is not None


def _key() -> str:
    return f"verl_egrsd/stop/{ray.get_runtime_context().get_job_id()}"
