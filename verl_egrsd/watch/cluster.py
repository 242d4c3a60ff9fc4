"""Does the Ray cluster answer that a run is to join? Ray itself would try for minutes."""

from __future__ import annotations

import os
import socket

import grpc
from omegaconf import DictConfig, OmegaConf

from verl_egrsd.network import noted_cluster

ANSWER_SECONDS = 10.0
WITHOUT_PROXY = [("grpc.enable_http_proxy", 0)]
"""As Ray does: a proxy for the web knows nothing of a cluster."""


def require_cluster(config: DictConfig) -> None:
    """Refuse the address of a Ray cluster at which nothing answers; without an address, do nothing.

    Raises:
        ValueError: naming the address, where it comes from, and what to do.
    """
    origin, address, otherwise = _named(config)
    if address is None or ":" not in address:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if problem := _problem(host, port):
        raise ValueError(
            f"{origin}={address}: no Ray cluster answers there ({problem}). Start it (ray start --head on "
            f"that machine), correct the address, or {otherwise} to start Ray on this machine."
        )


def _named(config: DictConfig) -> tuple[str, str | None, str]:
    """Return what names a cluster, its address, and how to do without it; Ray looks in this order."""
    key = "ray_kwargs.ray_init.address"
    address = OmegaConf.select(config, key)
    if address not in (None, "auto"):
        return key, address, f"leave {key} unset"
    if variable := os.environ.get("RAY_ADDRESS"):
        return "RAY_ADDRESS", variable, "leave RAY_ADDRESS unset"
    return "the address that ray start has noted", noted_cluster(config), "run ray stop, which removes it,"


def _problem(host: str, port: str) -> str | None:
    """Return why no gRPC server answers, or None if one does."""
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        if os.environ.get("RAY_USE_TLS") != "1":
            with grpc.insecure_channel(f"{host}:{port}", options=WITHOUT_PROXY) as channel:
                grpc.channel_ready_future(channel).result(ANSWER_SECONDS)
    except grpc.FutureTimeoutError:
        return f"no answer within {ANSWER_SECONDS:g} s"
    except (OSError, ValueError, OverflowError) as error:
        return str(error)
    return None
