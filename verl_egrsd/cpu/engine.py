"""verl's FSDP engine on the CPU platform."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from verl.workers.engine.base import EngineRegistry

from verl_egrsd.trainer.engine import EgrsdFSDPEngine


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")
class CpuFSDPEngine(EgrsdFSDPEngine):
    """The stock engine without offloading: all memory is host memory, and pinning it needs an accelerator."""

    engine_config: Any

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        # A forward-only engine (the reference) would be wrapped in CPUOffloadPolicy(pin_memory=True).
        stock_config = self.engine_config
        self.engine_config = replace(stock_config, forward_only=False, offload_policy=False)
        module = super()._build_fsdp_module(module)
        self.engine_config = stock_config
        return module
