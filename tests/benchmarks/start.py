"""Where the time before the first rollout goes: the processes of a run, when each appeared and what it cost.

    python -m tests.benchmarks.start

Run it from the checkout on an idle machine; it takes some five minutes, and builds the miniature's model
first if it is not there. It writes results/start.md beside this file. The floor is vLLM alone, started on the
same model in turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from recipes.miniature.measurement import BUILD, MODEL, TRAINING
from recipes.rehearsal.build import build
from tests.benchmarks.conditions import conditions_of_stack
from verl_egrsd.output.tables import text_table

RESULTS = Path(__file__).parent / "results"
SAMPLE_SECONDS = 0.2
TIME_LIMIT = 400.0
SHOWN_CPU_SECONDS = 1.0
TRAIN = (
    *(sys.executable, "-m", "verl_egrsd.main", "+preset=egrsd", "+model=miniature", "+hardware=cpu"),
    *("trainer.total_training_steps=1", "trainer.save_freq=-1"),
)
TRAINING_BEGINS = "Training Progress"
"""What verl prints when the first step begins."""
VLLM = """
from vllm import LLM
if __name__ == "__main__":
    LLM({model!r}, dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=64)
    print("{ready}", flush=True)
"""
VLLM_READY = "vLLM is ready"


@dataclass
class Process:
    """A process of a run: its title, when it appeared, and its processor seconds so far."""

    title: str
    appeared: float
    cpu: float = 0.0

    def see(self, process: psutil.Process) -> None:
        """Take the present title and processor seconds."""
        words = process.cmdline()
        times = process.cpu_times()
        self.cpu = times.user + times.system
        if words and "IDLE" not in words[0]:
            self.title = readable(words)


def readable(words: list[str]) -> str:
    """Return what a process is, from its command line."""
    if words[0].startswith(("ray::", "VLLM::")):
        return words[0].split(".")[0].split("(")[0]
    python = "python" in Path(words[0]).name
    modules = [word for word in words[1:] if not word.startswith("-")]
    return Path(modules[0]).name if python and modules else Path(words[0]).name


def watch(command: tuple[str, ...], ready: str) -> tuple[float, list[Process]]:
    """Run a command; return the seconds until it printed `ready`, and what its processes had done by then."""
    environment = os.environ | TRAINING | {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    begin = time.monotonic()
    run = psutil.Popen(command, env=environment, **pipe)
    seconds: list[float] = []
    found: dict[psutil.Process, Process] = {}

    def read() -> None:
        for line in run.stdout:
            if ready in line and not seconds:
                seconds.append(time.monotonic() - begin)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while not seconds and run.poll() is None and time.monotonic() - begin < TIME_LIMIT:
            for process in (run, *run.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    found.setdefault(process, Process("", time.monotonic() - begin)).see(process)
            time.sleep(SAMPLE_SECONDS)
        run.wait(TIME_LIMIT)
    finally:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    reader.join()
    if run.returncode or not seconds:
        raise RuntimeError(
            f"{' '.join(command)} ended with {run.returncode}; {ready!r} printed: {bool(seconds)}"
        )
    return seconds[0], list(found.values())


def table(processes: list[Process]) -> str:
    """Return the processes that cost at least a second, in the order of their appearance."""
    shown = [process for process in processes if process.cpu >= SHOWN_CPU_SECONDS]
    rest = sum(process.cpu for process in processes) - sum(process.cpu for process in shown)
    rows = [
        (f"`{process.title}`", f"{process.appeared:.1f}", f"{process.cpu:.1f}")
        for process in sorted(shown, key=lambda process: process.appeared)
    ]
    rows.append((f"{len(processes) - len(shown)} others", "", f"{rest:.1f}"))
    return text_table(("process", "appears, s", "processor, s"), rows)


def main() -> None:
    """Measure twice in turn, and write the page with the processes of the last run."""
    build(MODEL, BUILD)
    load = os.getloadavg()[0]
    bare, full = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "start_vllm.py"
        script.write_text(VLLM.format(model=str((MODEL / "model").absolute()), ready=VLLM_READY))
        for number in range(2):
            bare.append(watch((sys.executable, str(script)), VLLM_READY))
            full.append(watch((*TRAIN, f"trainer.default_local_dir={folder}/{number}"), TRAINING_BEGINS))
    vllm, run = (statistics.fmean(seconds for seconds, _ in each) for each in (bare, full))
    cost = [sum(process.cpu for process in each[-1][1]) for each in (bare, full)]
    page = [
        "# The start of a run",
        f"From the command to the first step: {run:.0f} s. vLLM alone, on the same model: {vllm:.0f} s; "
        f"beyond it {run - vllm:.0f} s. All processes together took {cost[1]:.0f} seconds of processor "
        f"time (vLLM alone {cost[0]:.0f}), so {os.cpu_count()} cores cannot start in less than "
        f"{cost[1] / (os.cpu_count() or 1):.0f} s. Means of two starts, in turn; the processes are those of "
        "the last one.",
        table(full[-1][1]),
        "vLLM alone:",
        table(bare[-1][1]),
        f"{conditions_of_stack(load)}\n- `python -m tests.benchmarks.start`",
    ]
    (RESULTS / "start.md").write_text("\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
