"""Checks that a LoRA update reaches the rollout engine, by the configuration and the installed vLLM."""

from __future__ import annotations

import logging
import os
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from packaging.version import Version

from verl_egrsd.preflight.reading import lora_rank

logger = logging.getLogger(__name__)

ASKED_FROM, ASKED_FOR = Version("0.25"), "get_unstacked_mapper"
"""From this version of vLLM on, verl's adapter sync calls this method; newer versions may lack it."""


def check_rollout_sync(config: DictConfig) -> None:
    """Refuse an adapter sync that cannot work, and warn of a merge that rounds the update away.

    Raises:
        ValueError: when verl's adapter sync calls a method that the installed vLLM lacks.
    """
    rollout, model = config.actor_rollout_ref.rollout, config.actor_rollout_ref.model
    if not lora_rank(config) or rollout.name != "vllm":
        return
    merge = (model.get("lora") or {}).get("merge", False)
    if merge and rollout.dtype not in ("float32", "float"):
        logger.warning(
            "actor_rollout_ref.model.lora.merge=True with actor_rollout_ref.rollout.dtype=%s: most of a "
            "small update is rounded away on its way to the rollout engine (egrsd/sync/update_share says how "
            "much is left). Set merge=False with actor_rollout_ref.rollout.load_format=auto.",
            rollout.dtype,
        )
    # On the CPU platform our plug-in for vLLM supplies the method.
    if not merge and os.environ.get("VERL_PLATFORM", "").strip().lower() != "cpu":
        refuse_vllm(*installed_vllm())


def refuse_vllm(found: Version | None, folder: Path | None) -> None:
    """Refuse a vLLM that does not fit verl's adapter sync.

    Args:
        found: version of vLLM; None if it is not installed on this machine.
        folder: folder of its package.
    """
    if found is None or folder is None or found < ASKED_FROM:
        return
    names = folder / "model_executor" / "models" / "utils.py"
    if f"def {ASKED_FOR}(" not in names.read_text():
        raise ValueError(
            f"verl's adapter sync (actor_rollout_ref.model.lora.merge=False) calls {ASKED_FOR}, which vLLM "
            f"{found} does not have: install the vLLM that verl 0.9.1 names (0.24.0), or set merge=True."
        )


def as_verl_can_check(config: DictConfig) -> DictConfig:
    """Return a configuration for verl's own check, which imports vLLM to look up the adapter's rank.

    A machine that only composes a run may lack vLLM. The rank is then checked in the run.
    """
    if installed_vllm()[0] is not None:
        return config
    merged = deepcopy(config)
    OmegaConf.update(merged, "actor_rollout_ref.model.lora.merge", True, force_add=True)
    return merged


def installed_vllm() -> tuple[Version | None, Path | None]:
    """Return version and folder of the installed vLLM without importing it; None without vLLM."""
    spec = find_spec("vllm")
    try:
        found = Version(version("vllm"))
    except PackageNotFoundError:
        return None, None
    return found, Path(spec.origin).parent if spec is not None and spec.origin else None
