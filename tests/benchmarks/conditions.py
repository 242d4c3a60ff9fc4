"""What a table says about the machine and the day."""

from __future__ import annotations

import platform
from datetime import date

import torch

from verl_egrsd.machine import processor


def conditions(load: float) -> str:
    """Return two lines of Markdown; `load` is the load average before the measurement."""
    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return (
        f"- {threads} threads, {processor()}, {capability}; load average at the start {load:.1f}\n"
        f"- Python {platform.python_version()}, torch {torch.__version__}; {date.today()}"
    )
