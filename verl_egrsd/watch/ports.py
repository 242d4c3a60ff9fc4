"""Are the ports free that the user has named? All others are chosen by the system when a run starts."""

from __future__ import annotations

import errno
import os
import socket

from omegaconf import DictConfig, OmegaConf

from verl_egrsd.network import cluster_address

RAY = "ray_kwargs.ray_init"
OF_RAY = "RAY_GCS_SERVER_PORT"
"""Ray's variable for the port of its head."""
LAST_PORT = 65535


def require_free_ports(config: DictConfig) -> None:
    """Refuse a named port on which another program listens: Ray and TransferQueue would fail after minutes.

    Raises:
        ValueError: naming what names the port, the port, and what to do, also for one that is no port.
    """
    for origin, port in _named(config).items():
        if not port:
            continue
        if not str(port).isdecimal() or int(port) > LAST_PORT:
            raise ValueError(
                f"{origin}={port} is not allowed: name a port from 1 to {LAST_PORT}, or leave {origin} unset."
            )
        if is_taken(int(port)):
            raise ValueError(
                f"{origin}={port}: another program listens on this port. End it, name a free port, or leave "
                f"{origin} unset: then a free one is chosen."
            )


def _named(config: DictConfig) -> dict[str, int | str | None]:
    """Return the ports that a run on this machine opens, by what names them."""
    if cluster_address(config) not in (None, "local"):
        return {}
    named: dict[str, int | str | None] = {OF_RAY: os.environ.get(OF_RAY)}
    if OmegaConf.select(config, f"{RAY}.include_dashboard") is not False:
        named[f"{RAY}.dashboard_port"] = OmegaConf.select(config, f"{RAY}.dashboard_port")
    if OmegaConf.select(config, "transfer_queue.metrics.enabled"):
        named["transfer_queue.metrics.port"] = OmegaConf.select(config, "transfer_queue.metrics.port")
    return named


def is_taken(port: int) -> bool:
    """Return whether a program listens on a port of this machine, at any IPv4 address."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise
    return False
