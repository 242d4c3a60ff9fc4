"""Does the Ray cluster answer that a run is to join? Ray itself would try for minutes.

Nothing here imports Ray, verl or torch: a command asks before these imports, which take seconds.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

import grpc
from omegaconf import DictConfig, OmegaConf

from verl_egrsd.network import noted_cluster
from verl_egrsd.watch.ports import LAST_PORT, RAY

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
"""For a connection, and then for an answer of gRPC."""
WITHOUT_PROXY = [("grpc.enable_http_proxy", 0)]
"""As Ray does: a proxy for the web knows nothing of a cluster."""
ADDRESS, RAY_FOLDER = f"{RAY}.address", f"{RAY}._temp_dir"


class NamedCluster(NamedTuple):
    """The Ray cluster that a run is to join.

    Attributes:
        origin: what names it.
        address: where it is, as Ray reads it; None if nothing names a cluster.
        otherwise: how to do without it.
    """

    origin: str
    address: str | None
    otherwise: str

    def silence(self) -> str | None:
        """Return a sentence that refuses the address; None if a cluster answers, or there is none to ask."""
        scheme, _, place = (self.address or "local").rpartition("://")
        host, _, port = place.rpartition(":")
        if place == "local" or scheme not in ("", "ray") or (scheme and not host):
            return None  # Ray starts one, has another way to reach it, or takes the usual port
        if (problem := _problem(host, port)) is None:
            return None
        return (
            f"{self.origin}={self.address}: no Ray cluster answers there ({problem}). Start it (ray start "
            f"--head on that machine), correct the address, or {self.otherwise} to start Ray on this machine."
        )


def require_cluster(config: DictConfig) -> None:
    """Refuse the address of a Ray cluster at which nothing answers; without an address, do nothing.

    Raises:
        ValueError: naming the address, where it comes from, and what to do.
    """
    _require(named_cluster(OmegaConf.select(config, ADDRESS), OmegaConf.select(config, RAY_FOLDER)))


def require_cluster_of(words: Sequence[str]) -> None:
    """Do what :func:`require_cluster` does before the configuration is composed, for which torch is imported.

    Nothing is asked where only the configuration says whether a run joins a cluster, and which.

    Args:
        words: the overrides of a command line.

    Raises:
        ValueError: as :func:`require_cluster`.
    """
    given = {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in words)}
    address, folder = (_plain(given.get(key)) for key in (ADDRESS, RAY_FOLDER))
    unknown = {RAY, RAY.partition(".")[0], "dry_run"} & given.keys()
    if not unknown and "$" not in f"{address}{folder}":
        _require(named_cluster(address, folder))


def _plain(value: str | None) -> str | None:
    """Return a value as Hydra reads it."""
    return None if value in (None, "", "null") else value.strip("'\"")


def _require(cluster: NamedCluster) -> None:
    if silence := cluster.silence():
        raise ValueError(silence)


def named_cluster(address: str | None = None, folder: str | None = None) -> NamedCluster:
    """Return the cluster that Ray would join; it looks in this order.

    Args:
        address: what the configuration says, if it does.
        folder: Ray's folder, where it is not the usual one.
    """
    if address not in (None, "auto"):
        return NamedCluster(ADDRESS, address, f"leave {ADDRESS} unset")
    if (variable := os.environ.get("RAY_ADDRESS")) and variable != "auto":
        return NamedCluster("RAY_ADDRESS", variable, "leave RAY_ADDRESS unset")
    noted = noted_cluster(folder)
    return NamedCluster("the address that ray start has noted", noted, "run ray stop, which removes it,")


def _problem(host: str, port: str) -> str | None:
    """Return why no gRPC server answers, or None if one does."""
    if not (host and port.isdecimal() and 0 < int(port) <= LAST_PORT):
        return f"it is not of the form host:port, with a port from 1 to {LAST_PORT}"
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        if os.environ.get("RAY_USE_TLS") != "1":
            with grpc.insecure_channel(f"{host}:{port}", options=WITHOUT_PROXY) as channel:
                grpc.channel_ready_future(channel).result(ANSWER_SECONDS)
    except TimeoutError:
        return f"no connection within {CONNECT_SECONDS:g} s"
    except grpc.FutureTimeoutError:
        return f"no answer within {ANSWER_SECONDS:g} s"
    except OSError as error:
        return str(error)
    return None
