"""The GPUs of this machine against those that a run asks for."""

from __future__ import annotations

from omegaconf import DictConfig

from verl_egrsd.network import cluster_address
from verl_egrsd.preflight.values import VALUES, refuse_values

ASKED = ("trainer.nnodes", "trainer.n_gpus_per_node")
REHEARSE = "To try everything without a GPU: bash recipes/rehearse_cpu.sh."


def require_gpus(config: DictConfig) -> None:
    """Refuse a run that starts on this machine and asks for more GPUs than it has.

    verl itself waits for them for minutes. What a Ray cluster has is known when the run has joined it.

    Raises:
        ValueError: naming the keys, what was found, and the remedy.
    """
    refuse_values(config, {key: VALUES[key] for key in ASKED})
    if config.trainer.device != "cuda" or joins_cluster(config):
        return
    asked, found = gpus_asked(config), gpus_here()
    if asked > found:
        raise ValueError(wanting(config, asked, found))


def gpus_asked(config: DictConfig) -> int:
    """Return how many GPUs a run asks of this machine, or of the Ray cluster that it joins."""
    # torchrun starts the ranks of each node there; without a cluster Ray has this machine only.
    nodes = config.trainer.nnodes if _uses_ray(config) else 1
    return nodes * config.trainer.n_gpus_per_node


def joins_cluster(config: DictConfig) -> bool:
    """Return whether a run joins a Ray cluster that others have started."""
    return _uses_ray(config) and cluster_address(config) not in (None, "local")


def _uses_ray(config: DictConfig) -> bool:
    """Return whether Ray starts the ranks of a run; those of supervised training are torchrun's."""
    return "ray_kwargs" in config


def gpus_here() -> int:
    """Return how many GPUs torch sees on this machine."""
    import torch

    return torch.cuda.device_count()


def wanting(config: DictConfig, asked: int, found: int) -> str:
    """Return the sentence for too few GPUs on this machine."""
    import torch

    per_node = f"trainer.n_gpus_per_node={config.trainer.n_gpus_per_node}"
    both = f"trainer.nnodes={config.trainer.nnodes} and {per_node} ask"
    keys = both if _uses_ray(config) else f"{per_node} asks"
    if config.trainer.nnodes > 1 and found and _uses_ray(config):
        remedy = "Several nodes need a Ray cluster: ray start on each, then RAY_ADDRESS."
    elif found:
        remedy = f"Set trainer.n_gpus_per_node={found} (GPUS={found} of a recipe), or hardware=gpu1 or gpu4."
    else:
        remedy = f"nvidia-smi says what the driver sees. {REHEARSE}"
    return f"{keys} for {asked} GPUs, and torch {torch.__version__} finds {found or 'none'} here. {remedy}"
