"""Why rollouts failed, as the agent loops of this package tell it.

Apart from these (`agent_loops`), whose import of verl imports the trainer, which needs what is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

MANAGER = "verl_egrsd.trainer.agent_loops.AgentLoops"
"""Value of `actor_rollout_ref.rollout.agent.agent_loop_manager_class`."""
ASK_SECONDS = 5.0


def failures_of(workers: Sequence[Any]) -> list[str]:
    """Return why rollouts of the last batch failed, from those of our workers that answer in time."""
    asked = [worker.failures.remote() for worker in workers if hasattr(worker, "failures")]
    if not asked:
        return []
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=ASK_SECONDS)
    return [sentence for found in ray.get(answered) for sentence in found]


def told(error: Exception, prompt: Any) -> str:
    """Return one line about the failure of a rollout: the error, and the prompt's last turn."""
    cause = getattr(error, "cause", None) or error
    asked = " ".join(str(prompt[-1]["content"]).split())[:80] if prompt is not None and len(prompt) else ""
    return f"{type(cause).__name__}: {cause}" + (f" (prompt {asked!r})" if asked else "")
