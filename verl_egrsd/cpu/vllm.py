"""Fits vLLM's CPU build for training (entry point `vllm.general_plugins`).

Weights: at load, vLLM on a CPU packs every linear weight for its matrix kernels and drops (or, for the output
head, keeps beside it) the original, so a later weight sync fails or never reaches the packed copy. We keep
the original and multiply with it.

Adapters: verl asks for the renaming part of vLLM's weight names by the name it had before vLLM 0.31.

Cores: two processes of vLLM spin for a second after the last token, each on a core of its own, while the
trainer waits for these cores. We let them sleep sooner.

Ends: vLLM's processes outlive a process that is killed, and keep its memory. Those of a training or an
evaluation end with it.

vLLM calls this in each of its processes, maybe twice, and also for people who use vLLM alone: without
`VERL_PLATFORM=cpu` and outside our commands it does nothing.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import torch

from verl_egrsd.cpu import ENDS_WITH, selected
from verl_egrsd.processes import end_with_parent

SPIN_SECONDS = 0.005
"""Longer than the wait for the next token of a running batch, so that generation itself still spins."""


def register() -> None:
    """Tie this process to the one that started it, in our commands; adapt vLLM under `VERL_PLATFORM=cpu`."""
    command = os.environ.get(ENDS_WITH)
    if command is not None and os.getpid() != int(command):
        end_with_parent()
    if not selected():
        return
    import vllm.distributed.device_communicators.shm_broadcast as queues
    import vllm.model_executor.layers.utils as layer_utils
    from vllm.model_executor.models.utils import WeightsMapper

    layer_utils.dispatch_cpu_unquantized_gemm = keep_weight
    if not hasattr(WeightsMapper, "get_unstacked_mapper"):
        WeightsMapper.get_unstacked_mapper = WeightsMapper.get_rename_mapper
    queues.SpinCondition = partial(queues.SpinCondition, busy_loop_s=SPIN_SECONDS)


def keep_weight(layer: Any, remove_weight: bool) -> None:
    """Multiply with the layer's own weight, which a weight sync can overwrite in place."""
    del remove_weight
    layer.cpu_linear = torch.nn.functional.linear
