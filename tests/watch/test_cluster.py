from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from omegaconf import OmegaConf

from verl_egrsd import main
from verl_egrsd.watch import cluster
from verl_egrsd.watch.cluster import require_cluster, require_cluster_of


def config(address=None, folder=None):
    ray_init = {"address": address, "_temp_dir": folder and str(folder)}
    return OmegaConf.create({"ray_kwargs": {"ray_init": ray_init}})


@pytest.fixture
def silent():
    """A port on which somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed():
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def swallowing():
    """A port that answers no connection: the queue of its listener is full, and nobody takes from it."""
    with ExitStack() as held:
        server = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


TRAINING = ("preset=egrsd", "model=qwen3_4b", "hardware=gpu8")
EVALUATION = ("eval", "some/model", "--benchmarks", "tests/data", "--out", "nowhere")
SAMPLING = ("sample", "some/model", "--data", "tests/data/aime24.jsonl", "--out", "nowhere")
HEAVY = (
    "import atexit, runpy, sys; sys.argv = sys.argv[1:]\n"
    "heavy = {'torch', 'verl', 'ray', 'vllm', 'transformers'}\n"
    "atexit.register(lambda: print('heavy:', sorted(heavy & sys.modules.keys())))\n"
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


@pytest.mark.parametrize(
    "command",
    [
        ("verl_egrsd.main", *TRAINING),
        ("verl_egrsd.cli", "train", *TRAINING),
        ("verl_egrsd.cli", "check", *TRAINING),
        ("verl_egrsd.cli", *EVALUATION),
        ("verl_egrsd.cli", *SAMPLING),
    ],
)
def test_a_command_refuses_an_address_before_the_imports_that_take_seconds(closed, command):
    variables = {"RAY_ADDRESS": f"127.0.0.1:{closed}"}
    done = subprocess.run(
        [sys.executable, "-c", HEAVY, *command], env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f": RAY_ADDRESS=127.0.0.1:{closed}: no Ray cluster answers there" in done.stderr.splitlines()[-1]
    assert done.stdout == "heavy: []\n"


def test_an_address_that_swallows_connections_is_given_up(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with swallowing() as port:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        began = time.monotonic()
        with pytest.raises(ValueError, match=rf"RAY_ADDRESS=127.*{port}: .*no connection within 0\.3 s"):
            require_cluster_of(TRAINING)
    assert 0.3 <= time.monotonic() - began < 10


def test_an_answer_is_awaited_for_less_than_half_a_minute_in_all():
    assert cluster.CONNECT_SECONDS + cluster.ANSWER_SECONDS <= 15


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What is asked for an answer, on a machine where `ray start` has noted no cluster."""
    found = []
    monkeypatch.setattr(cluster, "_problem", lambda host, port: found.append(f"{host}:{port}"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["variable:1"]),
        (["ray_kwargs.ray_init.address=word:2"], ["word:2"]),
        (["+ray_kwargs.ray_init.address='word:2'"], ["word:2"]),
        (["ray_kwargs.ray_init.address=ray://word:2"], ["word:2"]),
        (["ray_kwargs.ray_init.address=[::1]:2"], ["[::1]:2"]),
        (["ray_kwargs.ray_init.address=word:2", "ray_kwargs.ray_init.address=word:3"], ["word:3"]),
        (["ray_kwargs.ray_init.address=auto"], ["variable:1"]),
        (["ray_kwargs.ray_init.address=null"], ["variable:1"]),
        (["ray_kwargs.ray_init.num_cpus=2"], ["variable:1"]),
        (["ray_kwargs.ray_init.address=local"], []),
        (["ray_kwargs.ray_init.address=anyscale://cluster:2"], []),
        (["ray_kwargs.ray_init.address=ray://ingress"], []),
        (["ray_kwargs.ray_init.address=${oc.env:HEAD}:2"], []),
        (["ray_kwargs.ray_init={address: word:2}"], []),
        (["ray_kwargs={ray_init: {address: word:2}}"], []),
        (["dry_run=true"], []),
    ],
)
def test_the_address_of_a_command_line_is_the_one_that_ray_would_take(asked, monkeypatch, words, expected):
    monkeypatch.setenv("RAY_ADDRESS", "variable:1")
    require_cluster_of(words)
    assert asked == expected


@pytest.mark.parametrize("variable", ["", "auto", "local"])
def test_a_word_of_rays_in_the_variable_is_not_an_address(asked, monkeypatch, tmp_path, variable):
    monkeypatch.setenv("RAY_ADDRESS", variable)
    require_cluster_of([])
    assert asked == []
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("noted:1\n")
    require_cluster_of([])
    assert asked == ([] if variable == "local" else ["noted:1"])


def test_help_and_dry_runs_need_no_cluster(closed, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed}")
    begun = []
    monkeypatch.setattr(main, "composed_for", lambda *_: begun.append(sys.argv[1:]))
    for words in (["--help"], ["--config-dir", "x"], ["hydra.searchpath=[x]"], ["dry_run=true"]):
        monkeypatch.setattr(sys, "argv", ["main.py", *words])
        main.main()
        assert begun.pop() == words
    monkeypatch.setattr(sys, "argv", ["main.py"])
    with pytest.raises(SystemExit, match="no Ray cluster answers"):
        main.main()


def test_an_address_that_refuses_is_named_with_its_variable_and_the_remedy(closed, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed}")
    with pytest.raises(
        ValueError, match=rf"RAY_ADDRESS=127\.0\.0\.1:{closed}: no Ray cluster answers.*refused.*unset"
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
    for address in ("127.0.0.1:port", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:0", "127.0.0.1", ":6379"):
        with pytest.raises(ValueError, match=r"answers there \(it is not of the form host:port"):
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
