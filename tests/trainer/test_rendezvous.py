"""Ranks of one node meet on loopback, and exchange what they must."""

import json
import os
import socket
import subprocess
import sys
from datetime import timedelta

import psutil
import pytest

from verl_egrsd.trainer.rendezvous import METHOD, _meet, meet_on_loopback

pytestmark = pytest.mark.stack
RANK = """
import json, os, sys
import psutil, torch
from torch.distributed import all_reduce, barrier, init_process_group
from verl_egrsd.trainer.rendezvous import METHOD, meet_on_loopback

meet_on_loopback()
rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
init_process_group("gloo", rank=rank, world_size=ranks, init_method=os.environ.get(METHOD))
total = torch.tensor([rank + 1.0])
all_reduce(total)
found = [c.laddr.ip for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN]
print(json.dumps([total.item(), found]))
barrier()
"""
LONG = 120
"""Seconds."""


@pytest.fixture
def port():
    with psutil.socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_ranks_meet_and_listen_on_loopback_only(port):
    places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen(command, env=os.environ | places | {"RANK": rank}, stdout=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    try:
        results = [json.loads(rank.communicate(timeout=LONG)[0]) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [total for total, _ in results] == [3, 3]
    addresses = {address.removeprefix("::ffff:") for _, found in results for address in found}
    assert addresses == {"127.0.0.1"}


def test_a_port_that_another_program_has_taken_meanwhile_is_one_sentence(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(port))
        meeting = _meet("loopback://?rank=0&world_size=2", timedelta(seconds=5))
        with pytest.raises(OSError, match=rf"^port {port}, on which the ranks meet, .* run the same command"):
            next(meeting)


@pytest.mark.parametrize("address", ["10.0.0.7", "node-1", ""])
def test_ranks_of_several_nodes_meet_as_torch_has_it(monkeypatch, address):
    monkeypatch.setenv("MASTER_ADDR", address)
    monkeypatch.delenv(METHOD, raising=False)
    meet_on_loopback()
    assert METHOD not in os.environ


def test_a_meeting_point_of_the_users_stays(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv(METHOD, "env://")
    meet_on_loopback()
    assert os.environ[METHOD] == "env://"
