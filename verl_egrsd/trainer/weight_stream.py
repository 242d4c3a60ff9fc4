"""The stream of weights from an FSDP engine to the rollout engine.

verl merges a LoRA adapter into the weights in place, rounds the sum to bf16 for every dtype of the rollout
engine, and sends a tied head twice. Here each weight is merged on its own in float32, and rounded once to the
rollout engine's dtype. The weights of the model are only read. A tied head is left out, as in a checkpoint:
vLLM refuses a bucket that holds the copy without the embedding. The stream also measures the share of the
update that it carries (`UpdateShare`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from verl.utils.device import get_device_id
from verl.utils.fsdp_utils import normalize_peft_param_name
from verl.utils.model import convert_weight_keys

from verl_egrsd.trainer.rounding import UpdateShare

_BASE, _ADAPTER = "base_layer.weight", "default"
Named = Iterable[tuple[str, Tensor]]


def measured_adapter(tensors: dict[str, Tensor], dtype: torch.dtype, share: UpdateShare) -> Named:
    """Return an adapter unmerged.

    Args:
        tensors: of the adapter by name, `...lora_A.weight` and `...lora_B.weight`.
        dtype: dtype to which the rollout engine rounds them.
        share: measures every pair.
    """
    for name, down in tensors.items():
        if ".lora_A." in name:
            up = tensors[name.replace(".lora_A.", ".lora_B.")]
            share.add_factors(down.float(), up.float(), dtype)
    return tensors.items()


def merged_weights(module: nn.Module, dtype: torch.dtype, share: UpdateShare) -> Iterator[tuple[str, Tensor]]:
    """Yield every weight of a peft model, unsharded and merged, under its name in the base model.

    Args:
        module: a `PeftModel` under FSDP 1 or 2, or not sharded; its weights are not changed.
        dtype: dtype of the merged weights. Weights without an adapter keep their own dtype.
        share: measures every merged weight.
    """
    parameters, layers = module.state_dict(), dict(adapted_layers(module))
    for name, own in public_names(module, parameters).items():
        weight, path = whole_weight(parameters[own]), own.removesuffix(f".{_BASE}")
        if path not in layers:
            yield name, weight
            continue
        down, up = (
            whole_weight(parameters[f"{path}.lora_{side}.{_ADAPTER}.weight"]).float() for side in "AB"
        )
        layer, base = layers[path], weight.float()
        update = up @ down * layer.scaling[_ADAPTER]
        update = update.T if layer.fan_in_fan_out else update
        merged = (base + update).to(dtype)
        share.add_merged(base, update, merged)
        yield name, merged


def public_names(module: nn.Module, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Map names in the base model's checkpoint to names in `parameters`; adapter weights are left out."""
    own = normalize_peft_param_name({name: name for name in parameters})
    names: dict[str, str] = convert_weight_keys(own, getattr(module, "_fsdp_wrapped_module", module))
    return names


def adapted_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield every layer with an adapter, and its path in the state dict."""
    for path, layer in module.named_modules():
        if isinstance(layer, LoraLayer):
            yield path.replace("_fsdp_wrapped_module.", ""), layer


def tied_copies(module: nn.Module) -> set[str]:
    """Return the names of weights that share another weight's tensor, such as a tied head."""
    model: Any = getattr(module, "_fsdp_wrapped_module", module)
    model = model.get_base_model() if hasattr(model, "peft_config") else model
    return set(getattr(model, "all_tied_weights_keys", None) or ())


def whole_weight(weight: Any) -> Tensor:
    """Gather a sharded weight; every rank must ask for the same weights in the same order."""
    if not isinstance(weight, DTensor):
        return weight.detach()
    moved: Any = weight.to(get_device_id())
    return moved.full_tensor()


def rollout_dtype(name: str, checkpoint: torch.dtype | None) -> torch.dtype:
    """Return the dtype in which the rollout engine computes.

    Args:
        name: `rollout.dtype`; "auto" takes the checkpoint's dtype, and bf16 for float32, as vLLM does.
        checkpoint: dtype in the checkpoint's configuration, if any.
    """
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)  # vLLM's names are torch's
        return dtype
    return torch.bfloat16 if checkpoint in (None, torch.float32) else checkpoint


def refuse_unmergeable(module: nn.Module) -> None:
    """Refuse adapters that are not the plain product of two matrices.

    Raises:
        ValueError: naming the layer and the remedy.
    """
    for path, layer in adapted_layers(module):
        if not isinstance(layer, LoraLinear) or layer.use_dora.get(_ADAPTER):
            raise ValueError(
                f"actor_rollout_ref.model.lora.merge=True cannot merge the adapter of {path} "
                f"({type(layer).__name__}{', DoRA' if layer.use_dora.get(_ADAPTER) else ''}): name linear "
                "layers only in actor_rollout_ref.model.target_modules, or set lora.merge=False."
            )


def refuse_small_bucket(module: nn.Module, dtype: torch.dtype, megabytes: int) -> None:
    """Refuse a bucket that is smaller than the largest weight: verl would fail at the first sync, and hang.

    This holds for weights in shared memory only. By CUDA IPC a large weight is sent alone.

    Args:
        module: module of the engine, with or without peft.
        dtype: dtype of merged weights; the others keep their own.
        megabytes: `rollout.checkpoint_engine.update_weights_bucket_megabytes`.

    Raises:
        ValueError: naming weight, size and key.
    """
    parameters, copies = module.state_dict(), tied_copies(module)
    layers = dict(adapted_layers(module))
    sizes = {
        name: parameters[own].numel()
        * (dtype if own.removesuffix(f".{_BASE}") in layers else parameters[own].dtype).itemsize
        for name, own in public_names(module, parameters).items()
        if name not in copies
    }
    name = max(sizes, key=lambda name: sizes[name])
    needed = math.ceil(sizes[name] / 2**20)
    if needed > megabytes:
        raise ValueError(
            f"{name} takes {needed} MiB on its way to the rollout engine, and through shared memory a weight "
            "must fit one bucket: set actor_rollout_ref.rollout.checkpoint_engine."
            f"update_weights_bucket_megabytes={needed} or more (it is {megabytes})."
        )
