"""A watchdog over every phase, mixed into verl's synchronous trainer; its errors say what died."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from omegaconf import DictConfig
from transfer_queue import KVBatchMeta

from verl_egrsd.checkpoints.resume import Start
from verl_egrsd.preflight import plain
from verl_egrsd.report.ending import RunEndedError, RunStoppedError, ending
from verl_egrsd.report.run import RunReport
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.failed_rollouts import failures_of
from verl_egrsd.trainer.guarded_rewards import last_words
from verl_egrsd.watch.asking import asked_to_stop
from verl_egrsd.watch.processes import Processes, engine_failure
from verl_egrsd.watch.settings import watchdog_settings
from verl_egrsd.watch.shared_memory import unname_engine_segments
from verl_egrsd.watch.watchdog import Watchdog
from verl_egrsd.watch.words import last_line

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object


class Watched(Trainer):
    """Names the phase of a run, watches its processes, and ends it when it is asked to."""

    start: Start
    report: RunReport
    resume_mode: str
    """The user's; the configuration then says what verl is to do."""

    def __init__(self, config: DictConfig) -> None:
        settings = watchdog_settings(plain(config.get("watchdog")))
        self.processes = Processes()
        self.watchdog = Watchdog(settings, lambda: self.processes.dead(), self._give_up)
        self.agent_loop_workers: Sequence[Any] = ()
        self.global_steps = 0
        super().__init__(config)

    def init(self) -> None:
        """Start the engines.

        Raises:
            RunEndedError: when that fails or takes too long; the message says what died.
        """
        with self._ending(), self.watchdog.guard(), self.watchdog.during("start"):
            super().init()

    def _setup(self) -> None:
        super()._setup()
        self.processes.add("training worker", self.actor_rollout_wg.workers)
        words = last_words(self.config)
        self.processes.add("reward worker", self.get_reward_handles() or (), last_words=words)
        self.processes.add("TransferQueue process", queue.processes())
        servers = [server for replica in self.llm_server_manager.get_replicas() for server in replica.servers]
        engine = self.config.actor_rollout_ref.rollout.name
        self.processes.add(f"{engine} server", servers, engine_failure)
        if engine == "vllm":
            ray.get([server.__ray_call__.remote(unname_engine_segments) for server in servers])

    def fit(self, agent_loop_manager: Any) -> None:
        """Train.

        Raises:
            RunEndedError: when the run ends before its last step; the message says what died.
        """
        self.agent_loop_workers = getattr(agent_loop_manager, "agent_loop_workers", ())
        self.processes.add("agent-loop worker", self.agent_loop_workers)
        with self._ending(), self.watchdog.guard():
            super().fit(agent_loop_manager)

    def on_step_begin(self) -> None:
        """End the run here if it was asked to, with a checkpoint of the step before."""
        super().on_step_begin()
        if asked_to_stop():
            self.global_steps -= 1
            self._save_last()
            self.watchdog.enter(None)
            raise RunStoppedError("it was asked to stop")
        self.watchdog.enter("generation")

    def _save_last(self) -> None:
        """Write a checkpoint of the last step, unless there is one or the user wants none."""
        frequency = self.config.trainer.save_freq
        if frequency > 0 and self.global_steps > self.start.step and self.global_steps % frequency:
            self._save_checkpoint()

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        self.watchdog.enter("scoring")
        return super()._compute_old_log_prob(batch, metrics)

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        self.watchdog.enter("update")
        return super()._update_actor(batch, metrics)

    def _save_checkpoint(self) -> None:
        self.watchdog.enter("save")
        super()._save_checkpoint()

    def on_step_end(self) -> None:
        """Sync the weights, as verl does."""
        self.watchdog.enter("sync")
        super().on_step_end()
        self.watchdog.enter(None)

    def _validate(self) -> dict[str, float]:
        with self.watchdog.during("validation"):
            return super()._validate()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Raise what leaves the block as an error whose message is the last line of the run."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            kind = RunStoppedError if isinstance(error, RunStoppedError) else RunEndedError
            raise kind(self._last_line(self._what_died(error))) from error

    def _what_died(self, error: BaseException) -> str:
        """Return the cause of an error: a deadline or dead process, the first failed rollout, or itself."""
        if isinstance(error, RunStoppedError):
            return str(error)
        dead = self.watchdog.cause or self.processes.dead_within()
        if dead:
            return dead
        cause = getattr(error, "cause", None) or error  # Ray wraps an exception of another process
        said = str(cause) if isinstance(cause, RunEndedError) else f"{type(cause).__name__}: {cause}"
        failed = failures_of(self.agent_loop_workers)
        return f"{said} {len(failed)} rollouts failed, the first with {failed[0]}" if failed else said

    def _last_line(self, what: str) -> str:
        phase = self.watchdog.phase
        step = None if phase == "start" else self.global_steps
        return last_line(what, self.config, step=step, phase=phase, resume_mode=self.resume_mode)

    def _give_up(self, cause: str) -> None:
        """Say how the run ends where this process cannot raise an error any more."""
        line = self._last_line(cause)
        if hasattr(self, "report"):
            self.report.end(ending("failed", line))
        print(f"verl_egrsd: {line}", file=sys.stderr, flush=True)
