"""Where the processes of a run listen; tests/stack/test_training_runs.py looks at the sockets of a run."""

import os
import stat
import subprocess
import sys

import pytest
import ray
from omegaconf import OmegaConf
from ray._common.utils import get_ray_address_file

from verl_egrsd import network
from verl_egrsd.network import (
    CLUSTER_SWITCH,
    ask_for_token,
    secure_network,
    settle_token,
    warn_if_reachable,
    warn_of_network,
)

PRIVATE = 0o600


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine without a variable of Ray's, whose user has no token."""
    for name in (CLUSTER_SWITCH, "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ray._private.ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.setattr(ray._private.worker, "_global_node", None)
    yield tmp_path
    for name in (CLUSTER_SWITCH, "RAY_AUTH_MODE"):
        os.environ.pop(name, None)


def run(nnodes=1, **ray_init):
    return OmegaConf.create({"trainer": {"nnodes": nnodes}, "ray_kwargs": {"ray_init": ray_init}})


def test_a_run_of_one_node_stays_on_loopback(home, caplog):
    os.environ["RAY_AUTH_MODE"] = "token"
    warn_of_network(run())
    secure_network(run())
    assert ray.util.get_node_ip_address() == "127.0.0.1"
    assert os.environ[CLUSTER_SWITCH] == "0"
    assert not caplog.text


@pytest.mark.parametrize("config", [run(nnodes=2), run(address="auto"), run(address="10.0.0.1:6379")])
def test_a_run_that_joins_a_cluster_stays_on_the_network_and_says_so(home, caplog, config):
    warn_of_network(config)
    secure_network(config)
    assert ray._private.ray_constants.ENABLE_RAY_CLUSTER
    assert CLUSTER_SWITCH not in os.environ
    assert "can run code as this user" in caplog.text
    assert not (home / ".ray").exists()  # the cluster has a token; one of our own would be the wrong one


def test_an_address_in_the_environment_joins_a_cluster_too(home, monkeypatch, caplog):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    warn_of_network(run())
    assert "Ray's address 10.0.0.1:6379: Ray, TransferQueue and vLLM of this run listen" in caplog.text


def test_the_users_own_switch_stays_and_is_named(home, monkeypatch, caplog):
    monkeypatch.setenv(CLUSTER_SWITCH, "1")
    warn_of_network(run())
    secure_network(run())
    assert ray._private.ray_constants.ENABLE_RAY_CLUSTER
    assert f"{CLUSTER_SWITCH}=1: Ray, TransferQueue and vLLM of this run listen" in caplog.text


@pytest.fixture
def machine(home, tmp_path, monkeypatch):
    """A machine on which nobody has started Ray."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["main.py", "+preset=egrsd"])
    return tmp_path


def test_a_run_that_starts_ray_has_it_ask_for_a_token(machine):
    ask_for_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("cluster", ["variable", "argument", "file"])
def test_a_cluster_that_runs_has_its_own_mode(machine, monkeypatch, cluster):
    if cluster == "variable":
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    elif cluster == "argument":
        sys.argv.append("+ray_kwargs.ray_init.address=10.0.0.1:6379")
    else:
        network.begun_cluster().parent.mkdir()
        network.begun_cluster().touch()
    ask_for_token()
    assert "RAY_AUTH_MODE" not in os.environ


def test_the_users_own_mode_stays(machine, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ask_for_token()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR", "TMP"])
def test_ray_leaves_its_address_where_we_look_for_it(monkeypatch, tmp_path, variable):
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert str(network.begun_cluster()) == get_ray_address_file(None)


def test_nothing_imports_ray_before_the_run_asks_for_a_token():
    """Ray reads the variable when it is imported, which Hydra does."""
    script = (
        "import sys; from verl_egrsd import main; "
        "main.ask_for_token = lambda: sys.exit('ray' in sys.modules); main.main()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_ray_without_a_token_is_named(home, monkeypatch, caplog):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    warn_of_network(run())
    assert "RAY_AUTH_MODE=disabled: Ray runs the code of whoever reaches it" in caplog.text


@pytest.mark.parametrize(("address", "said"), [("10.0.0.7", True), ("127.0.0.1", False), ("[::1]", False)])
def test_a_run_that_another_program_started_says_if_others_reach_it(monkeypatch, caplog, address, said):
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: address)
    warn_if_reachable()
    assert (f"Ray listens at {address}" in caplog.text) == said


def test_the_token_is_readable_by_its_user_alone(home):
    previous = os.umask(0)
    try:
        secure_network(run())
    finally:
        os.umask(previous)
    token = home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == PRIVATE
    assert len(token.read_text()) == 64
    again = token.read_text()
    secure_network(run())
    assert token.read_text() == again


def test_a_token_that_other_users_can_read_is_named(home, caplog):
    home.chmod(0o755)
    settle_token(home)
    token = home / ".ray" / "auth_token"
    token.chmod(0o644)
    settle_token(home)
    assert f"can read Ray's token {token}" in caplog.text
    caplog.clear()
    home.chmod(0o700)
    settle_token(home)
    assert not caplog.text
