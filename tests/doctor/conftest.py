"""The machine that the checks of a set-up see."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from verl_egrsd.cost.seconds import GPUS
from verl_egrsd.preflight import attention, machine
from verl_egrsd.reward import selftest


@pytest.fixture
def healthy(monkeypatch):
    """A machine with eight GPUs of the kind that is assumed, on which everything is installed."""
    for name in ("RAY_ADDRESS", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(machine, "gpus_here", lambda: 8)
    monkeypatch.setattr("verl_egrsd.doctor.machine.gpus_here", lambda: 8)
    monkeypatch.setattr("verl_egrsd.doctor.machine.gpu_of", lambda config: GPUS[config.check.gpu])
    monkeypatch.setattr("verl_egrsd.doctor.machine.host_memory", lambda: 1e12)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e12))
    monkeypatch.setattr(selftest, "self_test", lambda: None)
    monkeypatch.setattr(attention, "import_module", lambda name: None)
