"""The package of the attention that a configuration takes, on the machine that trains."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.preflight.machine import joins_cluster
from verl_egrsd.preflight.reading import model_key

VERLS_ATTENTION = "flash_attention_2"
"""What verl asks transformers for unless the configuration names another one."""
FLASH_PACKAGES = {
    VERLS_ATTENTION: ("flash_attn", "pip install flash-attn --no-build-isolation"),
    "flash_attention_3": ("flash_attn_interface", "install FlashAttention 3"),
}
"""Attention that needs a package of its own: its module, and how to install it."""


def require_attention(config: DictConfig) -> None:
    """Refuse a run on GPUs of this machine whose attention is not installed, or cannot be imported here.

    verl finds out when Ray and its workers have started.

    Raises:
        ValueError: naming the key, what was found, and both remedies.
    """
    if config.trainer.device == "cuda" and not joins_cluster(config) and (lacks := lacking_attention(config)):
        raise ValueError(lacks)


def lacking_attention(config: DictConfig) -> str | None:
    """Return why the attention of a run does not work here, with both remedies; None if it does."""
    error, model = flash_attention_error(config), model_key(config)
    other = f"+{model}.override_config.attn_implementation=sdpa {model}.use_remove_padding=false"
    return error and f"{error} Or choose another attention: {other}."


def flash_attention_error(config: DictConfig) -> str | None:
    """Return why the flash attention of a run does not work here, and how to install it; None if it does."""
    key = f"{model_key(config)}.override_config.attn_implementation"
    attention = OmegaConf.select(config, key) or VERLS_ATTENTION
    # With the package `kernels`, transformers takes the hub's build in place of a package that is missing.
    if attention not in FLASH_PACKAGES or find_spec("kernels"):
        return None
    module, install = FLASH_PACKAGES[attention]
    try:
        import_module(module)
    except ImportError as error:  # also a package that was built for another torch
        return f"{key}={attention} does not work here ({error}): {install}."
    return None
