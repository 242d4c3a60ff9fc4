from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from omegaconf import OmegaConf

from verl_egrsd.watch import cluster
from verl_egrsd.watch.cluster import require_cluster


def config(address=None, folder=None):
    ray_init = {"address": address, "_temp_dir": folder and str(folder)}
    return OmegaConf.create({"ray_kwargs": {"ray_init": ray_init}})


@pytest.fixture
def silent():
    """A port on which somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_address_that_refuses_is_named_with_its_variable_and_the_remedy(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(
        ValueError, match=rf"RAY_ADDRESS=127\.0\.0\.1:{port}: no Ray cluster answers.*refused.*unset"
    ):
        require_cluster(config("auto"))


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_never_answers_is_given_up(silent, monkeypatch, scheme):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"ray_kwargs\.ray_init\.address=.*no answer within 0\.2 s"):
        require_cluster(config(f"{scheme}127.0.0.1:{silent}"))


def test_a_server_that_answers_is_taken_and_a_proxy_for_the_web_is_not_asked(monkeypatch):
    for variable in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        require_cluster(config(f"127.0.0.1:{port}"))
    finally:
        server.stop(None)


def test_a_port_that_cannot_be_one_is_refused():
    for address in ("127.0.0.1:port", "127.0.0.1:99999", "127.0.0.1:-1"):
        with pytest.raises(ValueError, match="no Ray cluster answers"):
            require_cluster(config(address))


def test_without_an_address_nothing_is_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in (None, "auto", "local"):
        require_cluster(config(address, tmp_path))


@pytest.mark.parametrize("address", [None, "auto"])
def test_the_address_that_ray_start_has_noted_is_asked_too(silent, monkeypatch, tmp_path, address):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    (tmp_path / "ray_current_cluster").write_text(f"127.0.0.1:{silent}")
    with pytest.raises(ValueError, match=r"ray start has noted=127.*no answer.*run ray stop, which removes"):
        require_cluster(config(address, tmp_path))
    require_cluster(config("local", tmp_path))
