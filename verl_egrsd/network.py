"""Keeps a run of one node to itself: Ray, TransferQueue and vLLM listen on loopback.

verl, TransferQueue and vLLM listen where Ray says that the node is. On Linux Ray names the address by which
other machines reach it, unless its switch for clusters is off; then it names 127.0.0.1, to every process. A
run of several nodes needs a network (docs/architecture.md, several nodes).
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from tempfile import NamedTemporaryFile

from omegaconf import DictConfig

logger = logging.getLogger(__name__)

CLUSTER_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's variable; whatever the name says, Ray reads it on every system."""
CLUSTER_NOTE = "ray_current_cluster"
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
LISTEN_BEYOND = (
    "Ray, TransferQueue and vLLM of this run listen on the network. TransferQueue and vLLM ask nobody for a "
    "password, and whoever reaches TransferQueue's ports can run code as this user: use a network that only "
    "the nodes of this run can reach."
)


def ask_for_token() -> None:
    """Have Ray ask for a token, unless the user has chosen, or a cluster runs that has its own choice.

    Call it before anything imports Ray, which reads the variable then. Hydra does, when it looks for verl's
    configuration: so the address is looked for among the arguments.
    """
    named = os.environ.get("RAY_ADDRESS") or any("ray_init.address=" in argument for argument in sys.argv)
    if not named and not begun_cluster().exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def begun_cluster() -> Path:
    """Return the file in which `ray start` leaves the address of its cluster."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # as Ray has it
    return Path(folder, "ray", CLUSTER_NOTE)


def warn_of_network(config: DictConfig) -> None:
    """Say loudly if others can reach a run, or could use Ray without a token."""
    if _beyond(config):
        logger.warning("%s: %s", _beyond(config), LISTEN_BEYOND)
    mode = os.environ.get("RAY_AUTH_MODE", "disabled")
    if mode.lower() != "token":
        logger.warning("RAY_AUTH_MODE=%s: Ray runs the code of whoever reaches it.", mode)


def _beyond(config: DictConfig) -> str:
    """Return the setting for which a run listens on the network; "" without one."""
    address = cluster_address(config)
    if config.trainer.nnodes > 1:
        return f"trainer.nnodes={config.trainer.nnodes}"
    if address and address != "local":
        return f"Ray's address {address}"
    switch = os.environ.get(CLUSTER_SWITCH, "0")
    return "" if switch == "0" else f"{CLUSTER_SWITCH}={switch}"


def cluster_address(config: DictConfig) -> str | None:
    """Return the address of the Ray cluster that a run joins; None if it starts Ray itself.

    Without an address Ray joins the cluster that `ray start` has begun on this machine.
    """
    ray_init = config.ray_kwargs.get("ray_init", {})
    given = ray_init.get("address") or os.environ.get("RAY_ADDRESS")
    return given or noted_cluster(ray_init.get("_temp_dir"))


def noted_cluster(folder: str | None = None) -> str | None:
    """Return the address that `ray start` has noted on this machine; None without one.

    Args:
        folder: Ray's folder, where it is not the usual one.
    """
    note = Path(folder, CLUSTER_NOTE) if folder else begun_cluster()
    return note.read_text().strip() if note.exists() else None


def warn_if_reachable() -> None:
    """Say loudly where Ray listens, in a run that another program may have started (stock `main_ppo`)."""
    import ray

    address = ray.util.get_node_ip_address().strip("[]")
    if not ip_address(address).is_loopback:
        logger.warning("Ray listens at %s: %s", address, LISTEN_BEYOND)


def secure_network(config: DictConfig) -> None:
    """Choose where the processes of a run listen; call it before Ray starts.

    A run of one node that starts Ray itself listens on loopback only, unless the user has set Ray's switch.
    """
    if _beyond(config):
        return
    import ray

    os.environ[CLUSTER_SWITCH] = "0"
    # This process has read the variable with its import of Ray; all others begin after this line.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    if not any(os.environ.get(name) for name in TOKEN_VARIABLES):
        settle_token(Path.home())


def settle_token(home: Path) -> None:
    """Make Ray's token where there is none: Ray itself would write it readable for every user of the machine.

    Args:
        home: of the user; Ray looks for the token in `.ray/auth_token`.
    """
    path = home / ".ray" / "auth_token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent) as file:  # only its user can read it
            file.write(secrets.token_hex(32))
            file.flush()
            with suppress(FileExistsError):  # another run has made one meanwhile
                os.link(file.name, path)
    elif all(
        place.stat().st_mode & bits for place, bits in ((path, 0o044), (path.parent, 0o011), (home, 0o011))
    ):
        logger.warning("other users of this machine can read Ray's token %s: chmod 600 it.", path)
