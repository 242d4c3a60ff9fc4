"""One training run through Ray with the scripted rollout, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support import warm_python
from tests.support.listeners import processes, recorded_listeners

REPOSITORY = Path(__file__).parents[2]
TIME_LIMIT = 360
"""Seconds for one run; on two idle cores it takes about a fifth of that."""


@dataclass(frozen=True)
class Run:
    """What a run left behind: its folder, its log, its exit code and the metrics of each step."""

    folder: Path
    log: str
    returncode: int
    steps: list[dict[str, Any]]


def train(folder: Path, model: Path, data: Path, *overrides: str, preset: str = "egrsd") -> Run:
    """Train with the tiny model on CPU; ends every process that it started."""
    keys = [
        *settings(model, data),
        f"trainer.default_local_dir={folder}",
        "trainer.logger=[console,file]",
        "trainer.save_freq=-1",
        "trainer.test_freq=-1",
        "trainer.val_before_train=false",
    ]
    presets = [f"+preset={preset}", "+model=tiny", "+hardware=cpu"]
    returncode, log = start(folder, "verl_egrsd.main", *presets, *keys, *overrides)
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return Run(folder, log, returncode, [json.loads(line)["data"] for line in lines])


def settings(model: Path, data: Path) -> list[str]:
    """Overrides that make a run take the tiny model and the scripted rollout."""
    return [
        "actor_rollout_ref.rollout.name=scripted",
        f"actor_rollout_ref.model.path={model}",
        f"data.train_files={data / 'train.parquet'}",
        f"data.val_files={data / 'validation.parquet'}",
        "actor_rollout_ref.rollout.calculate_log_probs=false",
    ]


def start(folder: Path, module: str, *arguments: str, limit: int = TIME_LIMIT) -> tuple[int, str]:
    """Run a module that takes Hydra overrides last, at most `limit` seconds; returns exit code and log."""
    temporary = Path(tempfile.mkdtemp(prefix="ray"))  # Ray's sockets need a short path
    environment = os.environ | warm_python.environment()
    environment |= {
        "VERL_USE_EXTERNAL_MODULES": "tests.support.scripted_rollout",
        "VERL_PLATFORM": "cpu",
        "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"),
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_DEDUP_LOGS": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }
    log = folder / "log.txt"
    ray = (f"+ray_kwargs.ray_init._temp_dir={temporary}", warm_python.ray_workers())
    command = [warm_python.python(), "-m", module, *arguments, *ray]
    with log.open("w") as stream:
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            with recorded_listeners(folder / "listeners.json", folder, temporary):
                returncode = process.wait(limit)
        finally:
            _end(process, temporary)
    return returncode, log.read_text()


def _end(process: psutil.Popen, temporary: Path) -> None:
    """End what is left of the run: the driver, and all that has to do with Ray's folder."""
    left = [process, *processes(temporary)]
    for other in left:
        with suppress(psutil.NoSuchProcess):
            other.kill()
    psutil.wait_procs(left, timeout=10)
    shutil.rmtree(temporary, ignore_errors=True)
