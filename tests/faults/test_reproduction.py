"""The whole reproduction on the CPU, killed in each stage: the next call goes on there."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from recipes.reproduce.plan import SMALL_BENCHMARKS
from recipes.reproduce.spent import read_spent
from tests.faults.run import REPOSITORY, WatchedRun, started
from verl_egrsd.report.history import read_steps

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(5400)]

PROBLEMS, SAMPLES = 4, 4
LONG, SHORT = 1500.0, 120.0
"""Seconds for a training's start on busy cores, and for the end of its processes."""
KILLED = {
    "model": ("model", ""),
    "benchmarks": ("benchmarks", ""),
    "data": ("data", ""),
    "train": ("train-egrsd-seed0", "Training Progress"),
    "evaluate": ("evaluate-sft-seed0", ""),
    "compare": ("compare-egrsd-seed0", ""),
    "export": ("export-egrsd-seed0", ""),
    "page": ("page", ""),
}
"""The command that is killed in each stage, and what its log says before."""


@pytest.fixture
def start(tmp_path):
    """Start the command in a checkout without the small model; all that it starts ends with the test."""
    checkout, runs = tmp_path / "checkout", []
    checkout.mkdir()
    for name in ("data_prep", "recipes", "verl_egrsd"):
        (checkout / name).symlink_to(REPOSITORY / name)
    words = [sys.executable, "-m", "recipes.reproduce.run", "--model", "qwen3_4b", "--hardware", "cpu"]
    words += ["--arms", "sft", "egrsd", "--steps", "1", "--problems", str(PROBLEMS)]

    def begin() -> WatchedRun:
        log = tmp_path / f"run{len(runs)}.log"
        environment = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [*words, "--out", str(tmp_path / "out")]
        runs.append(WatchedRun(started(command, log, environment, checkout), log))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def kill_in(run: WatchedRun, stage: str, out: Path, number: signal.Signals) -> None:
    """Send a signal while a command of a stage runs; all processes end, and free their shared memory."""
    name, mark = KILLED[stage]
    run.wait_for(f"reproduce: {stage}: {name};", LONG)
    log = out / "logs" / f"{name}.log"
    run.wait_until(lambda: log.exists() and mark in log.read_text(errors="replace"), LONG, mark)
    os.kill(run.driver.pid, number)
    code = run.driver.wait(SHORT)
    run.wait_for_all(SHORT)
    if number == signal.SIGTERM:
        assert code == 128 + number
        assert run.last_lines() == "reproduce: interrupted; the same command goes on from here."
    assert run.segments_left() == []


def test_a_reproduction_that_is_killed_or_stopped_in_each_stage_ends_with_all_results_once(start, tmp_path):
    out = tmp_path / "out"
    for place, stage in enumerate(KILLED):
        kill_in(start(), stage, out, (signal.SIGKILL, signal.SIGTERM)[place % 2])
    last = start()
    assert last.driver.wait(LONG) == 0, last.last_lines(20)

    attempts = {name: found.attempts for name, found in read_spent(out).items()}
    killed = {name for name, _ in KILLED.values()}
    # A dry run of an arm is made again as long as the arm is not trained.
    twice = {name for name, count in attempts.items() if count > 1 and not name.startswith("check-")}
    assert twice == killed
    assert all(attempts[name] == 2 for name in killed)
    for run in ("sft-seed0", "egrsd-seed0"):
        assert [*read_steps(out / "runs" / run / "report.jsonl")] == [1]
        assert (out / "models" / run / "adapter_config.json").exists()
    for name in ("base", "sft-seed0", "egrsd-seed0"):
        lines = (out / "evaluations" / name / "samples.jsonl").read_text().splitlines()
        keys = {(s["benchmark"], s["problem"], s["sample"]) for s in map(json.loads, lines)}
        assert len(lines) == len(keys) == len(SMALL_BENCHMARKS) * PROBLEMS * SAMPLES
    card = json.loads((out / "data" / "data_card.json").read_text())
    assert sum(card["benchmarks"].values()) == sum(SMALL_BENCHMARKS.values())
    page = (out / "index.html").read_text()
    assert all(text in page for text in ("EGRSD, measured", "SFT, measured", "EGRSD - SFT", "<svg"))
