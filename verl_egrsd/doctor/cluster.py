"""Every node of a Ray cluster: the package, its versions, the plug-in, and the GPUs of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig

from verl_egrsd.doctor.installed import versions
from verl_egrsd.doctor.lines import CheckLine, wrong
from verl_egrsd.network import cluster_address
from verl_egrsd.preflight.machine import joins_cluster
from verl_egrsd.watch.cluster import require_cluster
from verl_egrsd.watch.words import one_line

NODE_SECONDS = 60.0
NEEDS_TOKEN = (
    "Where the cluster asks for a token, as it does if its user has one, set RAY_AUTH_MODE=token and have "
    "the same token here (~/.ray/auth_token)."
)
"""With an address Ray does not look for a token by itself."""
Facts = dict[str, str]


def check_cluster(config: DictConfig) -> Iterator[CheckLine]:
    """Yield what every node of the run's cluster says of itself; nothing without a cluster.

    Raises:
        ValueError: when no cluster answers at the address.
    """
    if not joins_cluster(config):
        return
    require_cluster(config)
    import ray
    from ray.exceptions import AuthenticationError

    try:
        ray.init(address=cluster_address(config), log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, AuthenticationError) as error:
        yield wrong("nodes", f"{one_line(str(error))}. {NEEDS_TOKEN}")
        return
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        yield from compared(ask_nodes(nodes), versions())
        yield from compare_gpus(config, nodes)
    finally:
        ray.shutdown()


def ask_nodes(nodes: list[Mapping[str, Any]]) -> dict[str, Facts | str]:
    """Return by the node's address what a process there says: versions, or why it has none."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def facts() -> Facts | str:
        # In a function of a function, which Ray sends as code: a node may not have this package.
        try:
            from verl_egrsd.compat import assert_registered
            from verl_egrsd.doctor.installed import versions

            assert_registered("estimator", "policy loss")
            return versions()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    asked = {
        node["NodeManagerAddress"]: ray.remote(num_cpus=0)(facts)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote()
        for node in nodes
    }
    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=NODE_SECONDS)

    def answer(ref: Any) -> Facts | str:
        if ref not in ready:
            return f"no answer within {NODE_SECONDS:g} s"
        try:
            return ray.get(ref)
        except RayError as error:  # the node or its process died
            return f"{type(error).__name__}: {error}"

    return {address: answer(ref) for address, ref in asked.items()}


def compared(nodes: Mapping[str, Facts | str], here: Facts) -> Iterator[CheckLine]:
    """Yield the nodes that cannot run what this machine runs, or that all can."""
    differ = False
    for address, facts in nodes.items():
        if isinstance(facts, str):
            differ = True
            yield wrong("nodes", f"{address} does not work: {facts}. Install the package there, as here.")
        elif other := [name for name in here if facts.get(name) != here[name]]:
            differ = True
            said = ", ".join(f"{name} {facts.get(name)}, here {here[name]}" for name in other)
            yield wrong("nodes", f"{address} has {said}: install the same versions on every node.")
    if not differ:
        yield CheckLine("nodes", f"{len(nodes)} with the versions of this machine and the plug-in")


def compare_gpus(config: DictConfig, nodes: list[Mapping[str, Any]]) -> Iterator[CheckLine]:
    """Yield whether enough nodes have the GPUs that the run asks of each."""
    trainer = config.trainer
    found = [int(node["Resources"].get("GPU", 0)) for node in nodes]
    enough = sum(number >= trainer.n_gpus_per_node for number in found)
    text = (
        f"trainer.nnodes={trainer.nnodes} with trainer.n_gpus_per_node={trainer.n_gpus_per_node} asked, "
        f"the nodes have {', '.join(map(str, found))}"
    )
    if trainer.device == "cuda" and enough < trainer.nnodes:
        yield wrong("GPUs", f"{text}: start Ray on more nodes, or ask for fewer (NNODES, GPUS of a recipe).")
    else:
        yield CheckLine("GPUs", text)
