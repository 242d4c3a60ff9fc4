"""More GPUs than this machine has: refused before verl waits for them."""

import pytest
from omegaconf import OmegaConf

from verl_egrsd.preflight import machine
from verl_egrsd.preflight.machine import require_gpus


def config(device="cuda", nodes=1, gpus=8, address="local"):
    trainer = {"device": device, "nnodes": nodes, "n_gpus_per_node": gpus}
    return OmegaConf.create({"trainer": trainer, "ray_kwargs": {"ray_init": {"address": address}}})


@pytest.mark.parametrize(
    ("asked", "found", "remedy"),
    [
        ({}, 0, r"n_gpus_per_node=8 ask for 8 GPUs.*none here.*nvidia-smi.*rehearse_cpu\.sh"),
        ({}, 4, r"ask for 8 GPUs.* 4 here\. Set trainer\.n_gpus_per_node=4 \(GPUS=4 of a recipe\)"),
        ({"nodes": 2}, 8, r"nnodes=2 .*ask for 16 GPUs.*8 here\. Several nodes need a Ray cluster"),
    ],
)
def test_too_few_gpus_are_refused_with_the_keys_the_number_and_the_remedy(monkeypatch, asked, found, remedy):
    monkeypatch.setattr(machine, "gpus_here", lambda: found)
    with pytest.raises(ValueError, match=remedy):
        require_gpus(config(**asked))


@pytest.mark.parametrize(
    "asked", [{}, {"device": "cpu", "gpus": 9}, {"nodes": 9, "address": "10.0.0.1:6379"}]
)
def test_enough_gpus_none_at_all_and_those_of_a_cluster_are_accepted(monkeypatch, asked):
    monkeypatch.setattr(machine, "gpus_here", lambda: 8)
    require_gpus(config(**asked))


def test_supervised_training_asks_this_machine(monkeypatch):
    monkeypatch.setattr(machine, "gpus_here", lambda: 1)
    supervised = config()
    del supervised.ray_kwargs
    for nodes in (1, 2):  # torchrun is started on each of them
        supervised.trainer.nnodes = nodes
        with pytest.raises(
            ValueError, match=r"^trainer\.n_gpus_per_node=8 asks for 8.* Set trainer\.n_gpus_per"
        ):
            require_gpus(supervised)
    monkeypatch.setattr(machine, "gpus_here", lambda: 8)
    require_gpus(supervised)


@pytest.mark.parametrize("gpus", ["ten", None])
def test_a_number_of_gpus_that_is_none_is_refused_as_a_value(gpus):
    with pytest.raises(ValueError, match=rf"n_gpus_per_node={gpus} is not allowed: it must be"):
        require_gpus(config(gpus=gpus))
