"""A scripted rollout that stands in for vLLM: two vLLM engines do not fit two cores.

Answers depend on the prompt ids alone, never on weights, seeds or the number of servers. Everything else of a
run (agent loop, reward, TransferQueue, FSDP, gloo, weight sync up to the last hop) is real.

Loaded into every process by `VERL_USE_EXTERNAL_MODULES=tests.support.scripted_rollout` with the checkout on
PYTHONPATH (verl's wheel installs a package called `tests` too, which comes behind it), and chosen by
`actor_rollout_ref.rollout.name=scripted`. With `+actor_rollout_ref.rollout.custom={refuse: text}` the server
raises for prompts that contain the text; with `{answers: 2}` it answers a prompt in two ways, by turns.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Generator
from typing import Any

import ray
import torch

import verl_egrsd.plugin  # noqa: F401  (before verl's rollout modules, which ask for the platform)

# isort: split
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

NAME = "scripted"


class ScriptedServer:
    """Answers sums: briefly or at length, right or wrong, some of them until the cap cuts them off."""

    def __init__(self, tokenizer_path: str, cap: int, refuse: str | None, answers: int) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
        self.cap, self.refuse, self.global_steps = cap, refuse, 0
        self.answers, self.asked = answers, Counter[str]()

    async def generate(self, prompt_ids: list[int], **_: Any) -> TokenOutput:
        """Return the answer that belongs to this prompt."""
        prompt = self.tokenizer.decode(prompt_ids)
        if self.refuse and self.refuse in prompt:
            raise RuntimeError("the script refuses this prompt")
        total = sum(map(int, re.search(r"\d(?:\+\d)+", prompt)[0].split("+")))
        way = self.asked[prompt] % self.answers
        self.asked[prompt] += 1
        fate, length = divmod((zlib.crc32(str(prompt_ids).encode()) + 4 * way) % 16, 4)
        thought = " then 1+1=2." * (1 + 3 * length if fate < 3 else self.cap)
        answer = total + 1 if fate == 2 else total
        text = f"<think>\n{thought}\n</think>\n\nThe answer is \\boxed{{{answer}}}.{self.tokenizer.eos_token}"
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][: self.cap]
        steps = {"global_steps": self.global_steps}
        return TokenOutput(token_ids=ids, stop_reason="completed", num_preempted=0, extra_fields=steps)

    async def set_global_steps(self, global_steps: int) -> None:
        """Remember the version of the weights, which the agent loop asks for."""
        self.global_steps = global_steps

    async def sleep(self) -> None:
        """Nothing to free."""

    wake_up = sleep


class ScriptedRollout(BaseRollout):
    """The trainer's end: drops the weights, but only after it has gathered them with the other ranks."""

    async def update_weights(
        self, weights: Generator[tuple[str, torch.Tensor], None, None], global_steps: int, **_: Any
    ) -> None:
        """Drain the stream and tell the server of this rank the step."""
        for _name, _tensor in weights:
            pass
        await _server(torch.distributed.get_rank()).set_global_steps.remote(global_steps)

    async def resume(self, tags: list[str]) -> None:
        """Nothing was released."""

    async def release(self) -> None:
        """Nothing to release."""


class ScriptedReplica(RolloutReplica):
    """One server per data-parallel rank, as with vLLM at tensor-parallel size 1."""

    async def launch_servers(self) -> None:
        """Start the server."""
        server = ray.remote(ScriptedServer).options(name=f"{NAME}_{self.replica_rank}", max_concurrency=64)
        custom = self.config.custom or {}
        self._server_handle = server.remote(
            self.model_config.path,
            self.config.response_length,
            custom.get("refuse"),
            custom.get("answers", 1),
        )
        self._server_address = f"{NAME}:{self.replica_rank}"
        self.servers = [self._server_handle]


def _server(rank: int) -> Any:
    return ray.get_actor(f"{NAME}_{rank}")


_ROLLOUT_REGISTRY[(NAME, "async")] = f"{__name__}.{ScriptedRollout.__name__}"
RolloutReplicaRegistry.register(NAME, lambda: ScriptedReplica)
