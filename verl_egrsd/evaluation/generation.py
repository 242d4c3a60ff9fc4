"""vLLM: an engine that answers one prompt per coroutine and batches the waiting ones.

It uses only stable interfaces of vLLM: engine arguments, `AsyncLLM.generate` on token ids (as verl does), and
LoRA requests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from verl_egrsd.cpu import ENDS_WITH
from verl_egrsd.evaluation.model import Servable
from verl_egrsd.evaluation.settings import EngineOptions, Settings
from verl_egrsd.processes import KILLED, interruptible

UPDATE_TOKENS = 64
"""Tokens after which vLLM passes on how far an answer is."""
LEVEL = "VLLM_LOGGING_LEVEL"
QUIET = {LEVEL: "ERROR", "PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR", "TORCH_LOGS": "-all"}
"""Variables that keep vLLM's processes, and torch in them, from printing warnings."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""LoRA ranks that vLLM has kernels for."""


@dataclass(frozen=True)
class Answer:
    """An answer of the model: its text, its length in tokens, and why it ended ("stop" or "length")."""

    text: str
    tokens: int
    finish_reason: str


class EngineDiedError(ConnectionError):
    """A process of vLLM has ended, so that the engine answers no more."""


class Engine:
    """A running vLLM engine; made by :func:`running_engine`."""

    def __init__(self, engine: Any, settings: Settings, adapter: Path | None) -> None:
        from vllm.lora.request import LoRARequest

        self._engine, self._settings = engine, settings
        self._lora = LoRARequest("evaluated", 1, str(adapter)) if adapter else None
        self._tokens: dict[str, int] = {}

    async def lengths(self) -> list[int]:
        """Return the number of tokens so far of each answer that is being generated."""
        return [tokens for tokens in self._tokens.values() if tokens]

    async def answer(self, name: str, prompt: Sequence[int], seed: int) -> Answer:
        """Answer one prompt.

        Args:
            name: name of the request, unique among the running ones.
            prompt: token ids.
            seed: seed of this answer.

        Raises:
            EngineDiedError: when a process of vLLM has ended.
            RuntimeError: when vLLM ended the answer for a reason other than end of sequence or length.
        """
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        settings = self._settings
        parameters = SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_tokens=settings.max_new_tokens,
            seed=seed,
            output_kind=RequestOutputKind.DELTA,
        )
        request = TokensPrompt(prompt_token_ids=list(prompt))
        texts = []
        self._tokens[name] = 0
        try:
            async for result in self._engine.generate(request, parameters, name, lora_request=self._lora):
                (output,) = result.outputs
                texts.append(output.text)
                self._tokens[name] += len(output.token_ids)
        except EngineDeadError as error:
            raise EngineDiedError(f"vLLM's engine ended: {KILLED}") from error
        finally:
            tokens = self._tokens.pop(name)
        if output.finish_reason not in ("stop", "length"):
            raise RuntimeError(f"vLLM ended {name} with {output.finish_reason!r}: see its messages above.")
        return Answer("".join(texts), tokens, output.finish_reason)


def quiet_vllm() -> ModuleType:
    """Import vLLM; neither it nor its processes print warnings, unless `VLLM_LOGGING_LEVEL` is set."""
    if is_quiet():
        os.environ |= QUIET
    import vllm

    return vllm


def is_quiet() -> bool:
    """Return whether the user has not asked for vLLM's messages."""
    return os.environ.get(LEVEL, QUIET[LEVEL]) == QUIET[LEVEL]


@contextmanager
def running_engine(
    servable: Servable, settings: Settings, options: EngineOptions, longest_prompt: int
) -> Iterator[Engine]:
    """Start vLLM inside a running event loop, and stop it at the end.

    Args:
        servable: model and adapter.
        settings: how answers are sampled.
        options: how vLLM uses the machine.
        longest_prompt: tokens of the longest prompt.

    Raises:
        ValueError: from vLLM, for instance when prompt and answer do not fit the model's positions.
        RuntimeError: from vLLM, for instance when the GPU's memory is too small.
    """
    vllm = quiet_vllm()
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments: dict[str, Any] = {
        "model": str(servable.model),
        "dtype": settings.dtype,
        "seed": settings.seed,
        "max_model_len": longest_prompt + settings.max_new_tokens,
        "tensor_parallel_size": options.tensor_parallel_size,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "enforce_eager": options.enforce_eager,
        "stream_interval": UPDATE_TOKENS,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if options.max_num_seqs is not None:
        arguments["max_num_seqs"] = options.max_num_seqs
    if current_platform.is_cpu():
        # With chunked prefill vLLM resets the sample's generator, which torch's CPU generator does not allow.
        arguments["enable_chunked_prefill"] = False
    if servable.adapter:
        arguments |= {"enable_lora": True, "max_lora_rank": _lora_limit(servable.rank)}
    # Its processes load our plug-in, which ends them with this one, only if they are spawned.
    os.environ |= {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", ENDS_WITH: str(os.getpid())}
    # The processes of an engine are on one machine, and meet where no other machine can reach them.
    os.environ.setdefault("VLLM_HOST_IP", "127.0.0.1")
    # The usage context selects vLLM's defaults for offline batches instead of those for a server.
    with interruptible():
        engine = AsyncLLM.from_engine_args(
            vllm.AsyncEngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS
        )
    try:
        yield Engine(engine, settings, servable.adapter)
    finally:
        engine.shutdown()
        # An import during vLLM's start keeps this frame alive; the engine must be freed before the
        # interpreter exits.
        del engine


def _lora_limit(rank: int) -> int:
    """Return the smallest of vLLM's LoRA ranks that is at least `rank`."""
    for limit in LORA_RANKS:
        if rank <= limit:
            return limit
    raise ValueError(f"the adapter has rank {rank}, vLLM allows {LORA_RANKS[-1]}: export it as form=merged.")
