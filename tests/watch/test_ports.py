"""A port that the user has named and another program has taken is refused before anything starts."""

from __future__ import annotations

import re
import socket

import pytest
from omegaconf import OmegaConf

from verl_egrsd.watch.ports import OF_RAY, require_free_ports


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A machine on which nobody has started Ray."""
    for name in (OF_RAY, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


@pytest.fixture
def taken():
    """A port on which this process listens, at loopback alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def run(metrics=None, **ray_init):
    return OmegaConf.create(
        {"ray_kwargs": {"ray_init": ray_init}, "transfer_queue": {"metrics": metrics or {}}}
    )


def refused(origin, port):
    sentence = (
        f"{origin}={port}: another program listens on this port. End it, name a free port, or leave "
        f"{origin} unset: then a free one is chosen."
    )
    return pytest.raises(ValueError, match=f"^{re.escape(sentence)}$")


def test_the_port_of_rays_head(monkeypatch, taken):
    monkeypatch.setenv(OF_RAY, str(taken))
    with refused(OF_RAY, taken):
        require_free_ports(run())


def test_the_port_of_the_dashboard(taken):
    with refused("ray_kwargs.ray_init.dashboard_port", taken):
        require_free_ports(run(dashboard_port=taken))
    require_free_ports(run(dashboard_port=taken, include_dashboard=False))


def test_the_port_of_transfer_queues_metrics(taken):
    with refused("transfer_queue.metrics.port", taken):
        require_free_ports(run({"enabled": True, "port": taken}))
    require_free_ports(run({"enabled": False, "port": taken}))


@pytest.mark.parametrize("port", [None, 0, ""])
def test_a_port_that_the_system_chooses_is_none_to_check(monkeypatch, port):
    monkeypatch.setenv(OF_RAY, "")
    require_free_ports(run({"enabled": True, "port": port}, dashboard_port=port))


def test_a_port_that_was_taken_is_free_again(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv(OF_RAY, str(port))
    require_free_ports(run())


def test_the_ports_of_a_cluster_are_its_own(monkeypatch, taken):
    monkeypatch.setenv(OF_RAY, str(taken))
    require_free_ports(run(address="10.0.0.1:6379"))


@pytest.mark.parametrize("port", ["99999", "-1", "abc"])
def test_a_port_that_is_none_is_refused_by_name(monkeypatch, port):
    monkeypatch.setenv(OF_RAY, port)
    with pytest.raises(ValueError, match=f"{OF_RAY}={port} is not allowed: name a port from 1 to 65535"):
        require_free_ports(run())
