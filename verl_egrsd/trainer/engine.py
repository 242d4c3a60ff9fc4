"""verl's FSDP engine with three additions: an exact weight stream, the model's own forward pass, divergences.

The worker asks for it by vendor (`VERL_ENGINE_VENDOR`, in its own process), so other runs of verl on the same
machine keep verl's engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from verl.models.transformers.monkey_patch import patch_forward_with_backends
from verl.utils.fsdp_utils import offload_fsdp_model_to_cpu
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.engine.fsdp.utils import unfuse_moe_params

from verl_egrsd import cpu
from verl_egrsd.trainer.divergence_step import DivergenceStep
from verl_egrsd.trainer.rounding import UpdateShare
from verl_egrsd.trainer.weight_stream import Named, measured_adapter, merged_weights, tied_copies

VENDOR = "egrsd"
_OWN_FORWARDS: dict[type, Callable] = {}
"""By model class: verl's fused head replaces the method of the class, for all engines of a process."""


@EngineRegistry.register(
    model_type="language_model", backend=["fsdp", "fsdp2"], device=["cuda", "npu"], vendor=VENDOR
)
class EgrsdFSDPEngine(DivergenceStep, FSDPEngineWithLMHead):
    """The engine of this package's workers.

    Attributes:
        rollout_dtype: in which the rollout engine computes.
        update_share: of the last weight sync; every rank holds whole weights, so all ranks find the same.
    """

    model_config: Any
    rollout_dtype: torch.dtype = torch.float32
    update_share = UpdateShare()

    def get_per_tensor_param(
        self, layered_summon: bool = False, base_sync_done: bool = False, **kwargs: Any
    ) -> tuple[Named, dict | None]:
        """Return (name, tensor) pairs for the rollout engine; and, for an adapter, its configuration."""
        self.update_share = UpdateShare()
        weights, adapter = super().get_per_tensor_param(layered_summon, base_sync_done, **kwargs)
        if adapter is not None and base_sync_done:
            weights = measured_adapter(dict(weights), self.rollout_dtype, self.update_share)
        left_out = tied_copies(self.module)
        return ((name, weight) for name, weight in weights if name not in left_out), adapter

    def _merged_lora_per_tensor_param(self) -> Iterator[tuple[str, Tensor]]:
        try:
            weights = merged_weights(self.module, self.rollout_dtype, self.update_share)
            yield from unfuse_moe_params(weights, self.model_config.hf_config.model_type)
        finally:
            if self._is_offload_param:
                offload_fsdp_model_to_cpu(self.module)

    def _build_module(self) -> nn.Module:
        stock, self.model_config = self.model_config, copy(self.model_config)
        object.__setattr__(self.model_config, "use_fused_kernels", False)  # verl's settings are frozen
        model: nn.Module = super()._build_module()
        self.model_config = stock
        self._causal_model = model
        self._own_forward = _OWN_FORWARDS.setdefault(type(model), type(model).forward)
        type(model).forward = self._own_forward  # an earlier engine of this process may have replaced it
        if stock.use_fused_kernels:
            backend = (stock.fused_kernel_options or {}).get("impl_backend")
            patch_forward_with_backends(model, True, backend)
            model.register_forward_pre_hook(_gather_head)
            model.register_forward_hook(_release_head)
        return model

    @contextmanager
    def own_forward(self) -> Iterator[None]:
        """Let the model apply its own head, where verl's fused one took its place."""
        self._causal_model.forward = MethodType(self._own_forward, self._causal_model)
        try:
            yield
        finally:
            del self._causal_model.forward


def _gather_head(model: Any, _: Any) -> None:
    """Gather an untied head: verl shards it on its own, and its fused head never calls it."""
    head = model.get_output_embeddings()
    if isinstance(head, FSDPModule):
        head.unshard()


def _release_head(model: Any, _: Any, __: Any) -> None:
    """Drop what was gathered; in training the backward pass needs it, and drops it."""
    head = model.get_output_embeddings()
    if isinstance(head, FSDPModule) and not torch.is_grad_enabled():
        head.reshard()


if cpu.selected():
    import verl_egrsd.cpu.engine  # noqa: F401  (extends the class above, and verl asks for it by device)
