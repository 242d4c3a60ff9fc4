"""verl's agent loops, which also tell why a rollout failed; verl only writes that into a log."""

from __future__ import annotations

from typing import Any

import ray
from tensordict import TensorDict
from verl.trainer.ppo.v1 import AgentLoopManagerTQ
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ

from verl_egrsd.trainer.failed_rollouts import told

# verl hands out its class as an actor, which Ray does not let anybody extend; this is the class itself.
_Worker: Any = AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__


class AgentLoopWorker(_Worker):
    """Keeps the errors of the rollouts of a batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failed: list[str] = []

    async def generate_sequences(self, batch: TensorDict) -> None:
        """Start the rollouts of a batch, as verl does."""
        self.failed.clear()
        await super().generate_sequences(batch)

    async def _run_agent_loop(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._run_agent_loop(*args, **kwargs)
        except Exception as error:
            self.failed.append(told(error, kwargs.get("raw_prompt")))
            raise

    async def failures(self) -> list[str]:
        """Return a sentence for each rollout of the last batch that failed, the first failure first."""
        return self.failed


class AgentLoops(AgentLoopManagerTQ):
    """Starts the workers above in place of verl's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(AgentLoopWorker)
