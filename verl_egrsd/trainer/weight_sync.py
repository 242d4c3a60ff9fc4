"""One weight sync at a time on a machine, mixed into verl's synchronous trainer.

verl hands the weights to vLLM through a socket in /tmp, whose name holds the id of the Ray job. The first job
of every Ray is 01000000: runs that each start a Ray of their own share the name. When two of them sync at the
same moment, an engine gets the other run's weights. So a sync holds a lock that goes with that name.

The lock is of the machine that the trainer runs on. Runs of other users meet at the socket's permissions: the
second one fails.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    from verl.trainer.ppo.v1 import PPOTrainerSync as Trainer
else:
    # The import of verl's trainers imports `sync`, which needs the class below (see `verl_egrsd.plugin`).
    Trainer = object

SOCKETS = Path("/tmp")
"""Folder in which verl makes the socket, whatever TMPDIR is."""


class SyncsAlone(Trainer):
    """Syncs the weights while no other run on this machine does."""

    def on_init_end(self) -> None:
        """Give vLLM the weights that the run begins with, as verl does."""
        with self._alone():
            super().on_init_end()

    def on_step_end(self) -> None:
        """Sync the weights, as verl does."""
        with self._alone():
            super().on_step_end()

    def _alone(self) -> AbstractContextManager[None]:
        if self.config.actor_rollout_ref.rollout.name != "vllm":
            return nullcontext()
        return alone_on_this_machine(ray.get_runtime_context().get_job_id())


@contextmanager
def alone_on_this_machine(job: str) -> Iterator[None]:
    """Wait until no run of this user with the same Ray job id syncs on this machine, and keep others waiting.

    A killed process releases the lock; its file stays.

    Args:
        job: id of the Ray job.

    Raises:
        OSError: when the file of the lock belongs to somebody else, or is a link.
    """
    path = SOCKETS / f"verl_egrsd-{os.getuid()}-sync-{job}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"verl_egrsd: waiting for the weight sync of another run on this machine ({path}).",
                flush=True,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
