"""Starts the replicas of an evaluation with Ray: on the GPUs of this machine, or of a cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import ray
import torch
from omegaconf import OmegaConf

from verl_egrsd.evaluation.generation import Answer, Engine, is_quiet, running_engine
from verl_egrsd.evaluation.model import Servable
from verl_egrsd.evaluation.replicas import Replicas, at_once
from verl_egrsd.evaluation.settings import EngineOptions, Settings
from verl_egrsd.network import secure_network
from verl_egrsd.output.redaction import names_secret
from verl_egrsd.processes import interruptible, unchanged_term
from verl_egrsd.watch.cluster import require_cluster
from verl_egrsd.watch.reaper import start_reaper

PASSED_ON = ("HF_", "OMP_", "TOKENIZERS_", "VERL_PLATFORM", "VLLM_")
"""First letters of the variables that replicas on other machines get too."""
OBJECT_STORE = 256 * 2**20
"""Bytes for Ray's messages, when it is started here; an answer is some hundred kilobytes."""

LAST_SECONDS = 2.0
"""Time for the processes of the replicas to end after Ray has."""


class Replica:
    """An engine in an actor."""

    async def start(
        self, servable: Servable, settings: Settings, options: EngineOptions, longest_prompt: int
    ) -> None:
        """Start the engine; arguments as :func:`running_engine`.

        Raises:
            FileNotFoundError: when this machine does not have the model's folder.
        """
        for folder in filter(None, (servable.model, servable.adapter)):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder} is missing on {socket.gethostname()}: put models and --out where every node "
                    "can read them."
                )
        self._held = ExitStack()
        self._engine: Engine = self._held.enter_context(
            running_engine(servable, settings, options, longest_prompt)
        )

    async def answer(self, name: str, prompt: Sequence[int], seed: int) -> Answer:
        """Answer one prompt; see :meth:`Engine.answer`."""
        return await self._engine.answer(name, prompt, seed)

    async def lengths(self) -> list[int]:
        """Return how long the answers under way are; see :meth:`Engine.lengths`."""
        return await self._engine.lengths()


@contextmanager
def running_replicas(
    servable: Servable, settings: Settings, options: EngineOptions, longest_prompt: int, samples: int
) -> Iterator[Replicas]:
    """Start replicas inside a running event loop, and end them; join the cluster of `RAY_ADDRESS`, if any.

    Args:
        servable: model and adapter, in folders that every node has.
        settings: how answers are sampled.
        options: how vLLM uses the machine; without `replicas`, there is one for all GPUs of the cluster.
        longest_prompt: tokens of the longest prompt.
        samples: number of samples to draw; there are no more replicas than that.

    Raises:
        ValueError: when nothing answers at `RAY_ADDRESS`, or there are fewer GPUs than asked for.
    """
    with _ray(options):
        each = options.tensor_parallel_size
        gpus = [int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]]
        places = sum(number // each for number in gpus)
        if any(gpus) and (options.replicas or 1) > places:
            raise ValueError(
                f"--replicas {options.replicas or 'auto'} with {each} GPU{'s' * (each > 1)} each is not "
                f"possible: there are GPUs for {places}, and an engine does not span nodes. Ask for fewer."
            )
        if any(gpus) and (free := int(ray.available_resources().get("GPU", 0))) < each:
            raise ValueError(f"{free} of {sum(gpus)} GPUs are free: wait, or end what uses them.")
        number = min(options.replicas or max(places, 1), samples)
        prompts = at_once(samples, number, options.max_num_seqs)
        actor = ray.remote(Replica).options(
            num_cpus=1,
            num_gpus=each if places else 0,
            max_concurrency=prompts + 8,
            runtime_env={"env_vars": passed_on} if (passed_on := _passed_on()) else None,
        )
        actors = [actor.remote() for _ in range(number)]
        replicas = Replicas(actors, prompts, options.no_progress, ray.kill)
        arguments = (servable, settings, options, longest_prompt)
        starts = [asyncio.create_task(replicas.start(one, *arguments)) for one in range(number)]
        for start in starts:
            start.add_done_callback(replicas.ended)
        watching = asyncio.create_task(replicas.watch())
        watching.add_done_callback(replicas.ended)
        try:
            yield replicas
        finally:
            for task in (*starts, watching):
                task.cancel()


def _passed_on() -> dict[str, str]:
    """Return the variables for replicas on other machines; those on this machine have them."""
    if not os.environ.get("RAY_ADDRESS"):
        return {}
    found = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return {name: value for name, value in found.items() if not names_secret(name)}


@contextmanager
def _ray(options: EngineOptions) -> Iterator[None]:
    """Join the cluster of `RAY_ADDRESS`, or start Ray on this machine, for its user alone."""
    here = not os.environ.get("RAY_ADDRESS")
    ray_init: dict[str, Any] = {"address": "local" if here else None}
    config = OmegaConf.create({"trainer": {"nnodes": 1}, "ray_kwargs": {"ray_init": ray_init}})
    require_cluster(config)
    secure_network(config)
    reaper = start_reaper() if here else None
    if here:
        ray_init |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
        # A replica counts as one of Ray's CPUs, and Ray starts a process for each of them.
        ray_init |= {"num_cpus": options.replicas or torch.cuda.device_count()}
    with interruptible(), unchanged_term():
        ray.init(**ray_init, logging_level=logging.ERROR, log_to_driver=not is_quiet())
    try:
        yield
    finally:
        below = _below_ray()
        ray.shutdown()
        if reaper:
            _end(below)
            reaper.terminate()
            reaper.wait()


def _below_ray() -> list[psutil.Process]:
    """Return the processes of the replicas that Ray has started on this machine."""
    started = psutil.Process().children()
    return [process for one in started if one.name() == "raylet" for process in one.children(recursive=True)]


def _end(processes: Sequence[psutil.Process]) -> None:
    """End what the replicas leave: a process of vLLM ties itself to its parent only after its imports."""
    _, left = psutil.wait_procs(processes, timeout=LAST_SECONDS)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
