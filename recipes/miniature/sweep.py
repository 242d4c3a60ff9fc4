"""Several runs on one start of Ray, the engines and vLLM. On a laptop a start takes longer than a run.

Each run has its own trainer, built from its own configuration; only the processes are reused. Before each run
the engine restores its initial weights, optimiser state and random state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import ray
from omegaconf import DictConfig, OmegaConf
from verl.trainer.main_ppo import run_ppo
from verl.utils.logging_utils import configure_verl_logging

from verl_egrsd.config import TeacherConfig, flat, resolve_teacher
from verl_egrsd.methods import resolve
from verl_egrsd.network import secure_network
from verl_egrsd.preflight import plain, scoring_role
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.agent_loops import AgentLoops
from verl_egrsd.trainer.sync import EgrsdTrainer

PROCESSES = {
    *("resource_pool_manager", "actor_rollout_wg", "ref_policy_wg", "ref_in_actor", "reward_loop_manager"),
    *(
        "teacher_model_manager",
        "distillation_config",
        "llm_server_manager",
        "checkpoint_manager",
        "processes",
    ),
}
"""Attributes of verl's trainer that refer to other processes; the configuration decides which exist."""
SECTIONS = ("actor_rollout_ref", "reward")
"""Sections of the configuration that the processes are started with."""
PER_RUN = {
    f"actor_rollout_ref.{key}"
    for key in (
        *("rollout.n", "actor.rollout_n", "ref.rollout_n", "actor.ppo_mini_batch_size"),
        "rollout.trace.experiment_name",
        *(f"teacher.{field.name}" for field in fields(TeacherConfig)),
    )
}
"""Keys of these sections that only the trainer reads; it passes their values on at each step."""


class FirstRun(EgrsdTrainer):
    """The run that starts the processes; saves the initial state of its engine in `initial`."""

    def __init__(self, config: DictConfig, initial: Path) -> None:
        super().__init__(config)
        self.initial = initial

    def _load_checkpoint(self) -> None:
        self.global_steps = 0
        self.actor_rollout_wg.save_checkpoint(str(self.initial), None, 0)


class NextRun(EgrsdTrainer):
    """A run on the processes of the first one, which may resume from a checkpoint."""

    def __init__(self, config: DictConfig, first: FirstRun) -> None:
        super().__init__(config)
        self.first = first

    def _setup(self) -> None:
        self._init_tokenizer()
        self._init_dataloader()
        self._init_dump_executor()
        for name in PROCESSES & vars(self.first).keys():
            setattr(self, name, getattr(self.first, name))
        self.checkpoint_manager.sleep_replicas()
        self._load_checkpoint()

    def _load_checkpoint(self) -> None:
        self.actor_rollout_wg.load_checkpoint(str(self.first.initial))
        self.actor_rollout_wg.restart_teacher(plain(self.config.actor_rollout_ref.teacher))
        super()._load_checkpoint()


def sweep(configs: Sequence[DictConfig], initial: Path) -> None:
    """Train one run after another; a run that fails ends the sweep.

    Every run begins with the state of the first one, or resumes where `trainer.resume_mode` says so. The
    first one always begins at its first step.

    Args:
        configs: composed and checked configurations. A run with a teacher goes first, so that one is started.
        initial: folder for the state that every run begins with.

    Raises:
        ValueError: when two runs cannot share their processes, naming the key, or when the first one resumes.
    """
    first = next(filter(_uses_teacher, configs), configs[0])
    if first.trainer.resume_mode != "disable":
        raise ValueError(
            f"trainer.resume_mode={first.trainer.resume_mode} of {first.trainer.experiment_name}, the first "
            "run with a teacher: it starts the processes, and begins at its first step. Set it to disable, "
            "or train that run apart."
        )
    configs = [first, *(config for config in configs if config is not first)]
    for config in configs:
        require_shared_processes(first, config)
        OmegaConf.update(config, "transfer_queue.enable", True)
        OmegaConf.resolve(config)
    # run_ppo starts a runner's class without arguments.
    runner = SimpleNamespace(remote=partial(ray.remote(_Sweep).remote, configs, initial))
    secure_network(first)
    run_ppo(first, task_runner_class=runner)


def _uses_teacher(config: DictConfig) -> bool:
    cap = config.data.max_response_length
    method = resolve(config.algorithm.adv_estimator, plain(config.algorithm.egrsd), max_response_length=cap)
    return method.uses_teacher


def require_shared_processes(first: DictConfig, other: DictConfig) -> None:
    """Refuse runs whose engines, vLLM or reward workers would have been started with other settings.

    Raises:
        ValueError: naming the key and both values.
    """
    roles = {
        scoring_role(run, resolve_teacher(plain(run.actor_rollout_ref.teacher))) for run in (first, other)
    }
    if len(roles) > 1:
        raise ValueError(
            "actor_rollout_ref.teacher.refresh is current in one run, whose teacher is the actor's engine, "
            "and not in another, whose teacher is the reference engine: start them apart, or train an "
            "adapter (actor_rollout_ref.model.lora_rank), which needs no reference engine."
        )
    one, two = ({key: flat(plain(config[key])) for key in SECTIONS} for config in (first, other))
    for section in SECTIONS:
        for key in one[section].keys() | two[section].keys():
            values = one[section].get(key), two[section].get(key)
            if values[0] != values[1] and f"{section}.{key}" not in PER_RUN:
                raise ValueError(
                    f"{section}.{key} is {values[0]!r} in the first run and {values[1]!r} in another: runs "
                    "that share their processes need one value. Give them one, or start them apart."
                )


class _Sweep:
    """verl's task runner, for several trainers."""

    def __init__(self, configs: Sequence[DictConfig], initial: Path) -> None:
        self.configs, self.initial = configs, initial
        self.agent_loops: dict[int, AgentLoops] = {}

    def run(self, _: DictConfig) -> None:
        """Train all runs."""
        configure_verl_logging()
        with queue.started(self.configs[0].transfer_queue):
            first = FirstRun(self.configs[0], self.initial)
            for number, config in enumerate(self.configs):
                trainer = NextRun(config, first) if number else first
                trainer.init()
                trainer.fit(self._agent_loops_of(trainer))

    def _agent_loops_of(self, trainer: EgrsdTrainer) -> AgentLoops:
        """Return agent loops for the trainer's rollouts per prompt; the number is fixed when they start."""
        n = trainer.config.actor_rollout_ref.rollout.n
        if n not in self.agent_loops:
            self.agent_loops[n] = AgentLoops.create(
                config=trainer.config,
                llm_client=trainer.get_llm_client(),
                teacher_client=trainer.get_teacher_client(),
                reward_loop_worker_handles=trainer.get_reward_handles(),
            )
        return self.agent_loops[n]
