"""Where the ranks of a node meet: on loopback, if Ray is there.

torch's own meeting point listens on every interface, whatever address it is given, and gloo listens where the
name of the machine points.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlparse

from torch.distributed import TCPStore, register_rendezvous_handler

SCHEME = "loopback"
METHOD = "DIST_INIT_METHOD"
"""verl's variable for the `init_method` of its process group."""


def meet_on_loopback() -> None:
    """Have verl's process group of this worker meet on loopback, where verl's master address says so."""
    address = os.environ.get("MASTER_ADDR", "")
    if METHOD in os.environ or not _is_loopback(address):
        return
    register_rendezvous_handler(SCHEME, _meet)
    os.environ[METHOD] = f"{SCHEME}://"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _meet(url: str, timeout: timedelta, **_: Any) -> Iterator[tuple[TCPStore, int, int]]:
    """Yield store, rank and world size, as torch asks of a rendezvous; rank 0 listens."""
    query = {name: int(values[0]) for name, values in parse_qs(urlparse(url).query).items()}
    rank, world_size = query["rank"], query["world_size"]
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    options: dict[str, Any] = {"world_size": world_size, "is_master": rank == 0, "timeout": timeout}
    if rank == 0:
        options["master_listen_fd"] = _listener(address, port).detach()
    yield TCPStore(address, port, **options), rank, world_size
    raise RuntimeError("the ranks of a run meet once.")


def _listener(address: str, port: int) -> socket.socket:
    """Listen on the port that verl has found free, but not kept."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            f"port {port}, on which the ranks meet, was free a moment ago and is another program's now: run "
            "the same command again."
        ) from None
