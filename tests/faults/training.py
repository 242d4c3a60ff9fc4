"""Training runs with the small model, watched from outside, and how they must end."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import psutil

from tests.faults.run import WatchedRun

STARTS = 600.0
"""Seconds for a start and some steps on busy cores."""
ENDS = 60.0
"""Seconds within which a run must end after a fault."""
SCRIPTED = ("actor_rollout_ref.rollout.name=scripted", "actor_rollout_ref.rollout.calculate_log_probs=false")
ENVIRONMENT = {
    "VERL_PLATFORM": "cpu",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}
RAY = Path(tempfile.gettempdir()) / f"ray{os.getpid()}"
"""Ray's folder, whose sockets need a short path."""


def command(folder: Path, *overrides: str) -> list[str]:
    """A run of the rehearsal's small model with a checkpoint every second step."""
    return [
        *(sys.executable, "-m", "verl_egrsd.main", "+preset=egrsd", "+model=tiny", "+hardware=cpu"),
        *(f"trainer.default_local_dir={folder}", "trainer.total_training_steps=400", "trainer.save_freq=2"),
        *("trainer.test_freq=-1", "trainer.val_before_train=false", "trainer.logger=[console,file]"),
        *(f"+ray_kwargs.ray_init._temp_dir={RAY}", *overrides),
    ]


def environment(folder: Path, *overrides: str) -> dict[str, str]:
    """The variables of this run."""
    found = ENVIRONMENT | {"VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl")}
    scripted = {"VERL_USE_EXTERNAL_MODULES": "tests.support.scripted_rollout"}
    return found | scripted if set(SCRIPTED) <= set(overrides) else found


class Training(WatchedRun):
    """A run and the files that it leaves in its folder."""

    def __init__(self, driver: psutil.Process, folder: Path, log: Path) -> None:
        super().__init__(driver, log)
        self.folder = folder

    def steps(self) -> int:
        path = self.folder / "metrics.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def train(self, steps: int) -> None:
        """Wait until so many steps are done."""
        self.wait_until(lambda: self.steps() >= steps, STARTS, f"{steps} steps")

    def report(self) -> dict:
        return json.loads((self.folder / "report.json").read_text())

    def marked(self) -> str:
        """Return the step that verl's file names as the last one with a checkpoint."""
        return (self.folder / "latest_checkpointed_iteration.txt").read_text()

    def checkpoints(self) -> list[int]:
        return sorted(int(path.name[12:]) for path in self.folder.glob("global_step_*"))


def require_good_end(run: Training, code: int, how: str, *words: str) -> None:
    """The run ends in time and says how, and nothing of it is left."""
    assert run.driver.wait(ENDS) == code, run.last_lines(20)
    require_nothing_left(run)
    require_last_line(run, how, *words)


def require_nothing_left(run: Training) -> None:
    """Every process ends, and the shared memory is free."""
    run.wait_for_all(ENDS)
    assert run.segments_left() == []


def require_last_line(run: Training, how: str, *words: str) -> None:
    """The last line of the log names the cause and the checkpoint, and is the one in the report."""
    line = run.last_lines().removeprefix("verl_egrsd: ")
    for word in (*words, "The last checkpoint is ", "goes on from it."):
        assert word in line
    assert (run.report()["ending"]["how"], run.report()["ending"]["why"]) == (how, line)
