"""What the nodes of a Ray cluster say of themselves, against this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import ray
from omegaconf import OmegaConf

from verl_egrsd.doctor import cluster
from verl_egrsd.doctor.cluster import check_cluster, compare_gpus, compared
from verl_egrsd.doctor.installed import versions
from verl_egrsd.doctor.lines import Severity
from verl_egrsd.network import CLUSTER_SWITCH

HERE = {"verl_egrsd": "0.2.0", "verl": "0.9.1"}


def test_nodes_with_the_versions_of_this_machine_are_one_line():
    (line,) = compared({"10.0.0.1": HERE, "10.0.0.2": dict(HERE)}, HERE)
    assert line.level is Severity.FINE
    assert line.text == "2 with the versions of this machine and the plug-in"


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (HERE | {"verl": "0.8.0"}, "10.0.0.2 has verl 0.8.0, here 0.9.1: install the same versions"),
        ("No module named 'verl_egrsd'", "10.0.0.2 does not work: No module named 'verl_egrsd'. Install"),
        ("no answer within 60 s", "10.0.0.2 does not work: no answer within 60 s."),
    ],
)
def test_a_node_that_differs_is_named_with_what_differs(facts, sentence):
    (line,) = compared({"10.0.0.1": HERE, "10.0.0.2": facts}, HERE)
    assert line.level is Severity.WRONG
    assert line.text.startswith(sentence)


@pytest.mark.parametrize(("found", "severity"), [((8, 8), Severity.FINE), ((8, 4), Severity.WRONG)])
def test_the_gpus_of_all_nodes_are_compared_with_those_asked(found, severity):
    config = OmegaConf.create({"trainer": {"device": "cuda", "nnodes": 2, "n_gpus_per_node": 8}})
    (line,) = compare_gpus(config, [{"Resources": {"GPU": float(number)}} for number in found])
    assert line.level is severity
    assert f"the nodes have {found[0]}, {found[1]}" in line.text


@pytest.mark.parametrize("kind", [ConnectionError, ray.exceptions.AuthenticationError])
def test_a_cluster_that_lets_nobody_in_without_a_token_is_named_with_the_variable(monkeypatch, kind):
    def refuse(**_):
        raise kind("Failed to connect to Ray cluster at 10.0.0.1:6379")

    monkeypatch.setattr(cluster, "require_cluster", lambda config: None)
    monkeypatch.setattr(ray, "init", refuse)
    address = {"ray_kwargs": {"ray_init": {"address": "10.0.0.1:6379"}}, "trainer": {"nnodes": 1}}
    (line,) = check_cluster(OmegaConf.create(address))
    assert line.level is Severity.WRONG
    assert "Failed to connect to Ray cluster at 10.0.0.1:6379" in line.text
    assert "Where the cluster asks for a token" in line.text
    assert "set RAY_AUTH_MODE=token" in line.text


ASK = """
import json, ray
from verl_egrsd.doctor import cluster
ray.init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False)
cluster.NODE_SECONDS = 300.0
(node,) = ray.nodes()
gone = node | {"NodeID": "1" * len(node["NodeID"]), "NodeManagerAddress": "gone"}
print(json.dumps(cluster.ask_nodes([node | {"NodeManagerAddress": "here"}, gone])))
ray.shutdown()
"""


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_node_says_its_versions_and_one_that_is_gone_why_it_does_not():
    alone = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=alone | {CLUSTER_SWITCH: "0"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["here"] == versions()
    assert isinstance(found["gone"], str)
    assert "Error: " in found["gone"]
