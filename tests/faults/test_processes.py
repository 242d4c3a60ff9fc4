"""Processes of real runs are killed and stopped: each run says what died, and leaves nothing behind.

One start each: a run whose process died is over. The rollouts are scripted where vLLM is not what dies.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from recipes.rehearsal.build import BuildSettings, build
from tests.faults.run import REPOSITORY, WatchedRun, started
from tests.support.listeners import listeners
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1500)]

STARTS = 600.0
"""Seconds for a start and some steps on busy cores."""
ENDS = 60.0
"""Seconds within which a run must end after a fault."""
HANGS = 40
"""Seconds that a phase may take in the run that hangs."""
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


@pytest.fixture(scope="session")
def small():
    """The model of the rehearsal; Ray's folder goes with the last test."""
    build(REPOSITORY / ".cache/rehearsal/small", BuildSettings())
    yield
    shutil.rmtree(RAY, ignore_errors=True)


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

    def __init__(self, driver: psutil.Process, folder: Path) -> None:
        super().__init__(driver, folder / "log.txt")
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


@pytest.fixture
def training(small, tmp_path):
    runs = []

    def start(*overrides):
        variables = environment(tmp_path, *overrides)
        driver = started(command(tmp_path, *overrides), tmp_path / "log.txt", variables)
        runs.append(Training(driver, tmp_path))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


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


def test_ctrl_c_in_a_terminal_lets_the_step_end_as_sigterm_does(small, tmp_path, measured):
    """Through `timeout`, as in the recipes: the run gets the terminal's signal, and a copy of it."""
    overrides = (*SCRIPTED, "trainer.save_freq=100", "watchdog.stop=50")
    training = shlex.join(command(tmp_path, *overrides))
    script = f"source recipes/common.sh; within 900 {training} > {tmp_path}/log.txt 2>&1 || exit $?"
    variables = os.environ | environment(tmp_path, *overrides)
    with Terminal(["bash", "-c", script], cwd=REPOSITORY, environment=variables) as terminal:
        run = Training(psutil.Process(terminal.process.pid), tmp_path)
        try:
            run.train(3)
            with measured("Ctrl-C in a terminal", "after the step, with a checkpoint"):
                terminal.press_ctrl_c()
                assert terminal.end(ENDS) == 130
                require_nothing_left(run)
        finally:
            run.close()
    require_last_line(run, "stopped", "it was asked to stop")
    assert run.checkpoints() == [run.steps()]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("ray::AgentLoopWorker", "agent-loop worker 0 died"),
        ("ray::RewardLoopWorker", "reward worker 0 died"),
        ("ray::WorkerDict", "training worker 0 died"),
        ("ray::TaskRunner", "the trainer's process died"),
    ],
)
def test_a_killed_process_is_named_with_step_and_checkpoint(training, measured, title, name):
    run = training(*SCRIPTED)
    run.train(3)
    with measured(f"`{title.removeprefix('ray::')}` killed", "named in the last line"):
        run.find(title).kill()
        require_good_end(run, 1, "failed", name, " of 400")


def test_sigterm_lets_the_step_end_and_writes_its_checkpoint(training, measured):
    run = training(*SCRIPTED, "trainer.save_freq=100", "watchdog.stop=50")
    run.train(3)
    with measured("SIGTERM", "after the step, with a checkpoint"):
        run.driver.terminate()
        require_good_end(run, 143, "stopped", "it was asked to stop")
    assert run.checkpoints() == [run.steps()]


def test_a_phase_over_its_deadline_ends_the_run_with_its_name(training, measured):
    limits = [f"watchdog.{phase}={HANGS}" for phase in ("generation", "scoring", "update", "sync")]
    run = training(*SCRIPTED, *limits)
    run.train(3)
    worker = run.find("ray::WorkerDict")
    with measured(f"a training worker hangs; deadlines of {HANGS} s", "named with its deadline"):
        worker.suspend()
        assert run.driver.wait(HANGS + ENDS) == 1
        with suppress(psutil.NoSuchProcess):  # Ray may have ended it already
            worker.resume()  # a suspended process cannot see that Ray is gone
        require_nothing_left(run)
    require_last_line(run, "failed", f"took longer than its limit of {HANGS} s (watchdog.")


def test_an_engine_killed_while_it_generates_is_named(training, measured):
    run = training()
    run.train(3)
    engine, worker = run.find("VLLM::EngineCore"), run.find("VLLM::Worker")
    worker.suspend()
    time.sleep(15)
    with measured("vLLM's engine killed during the generation", "named in the last line"):
        engine.kill()
        worker.kill()
        require_good_end(run, 1, "failed", "step 4 of 400, the generation: vllm server 0 died")


def test_an_engine_killed_during_the_weight_sync_is_named(training, measured):
    run = training("trainer.save_freq=1")
    run.train(2)
    engine, worker = run.find("VLLM::EngineCore"), run.find("VLLM::Worker")
    # The sync follows the checkpoint, and waits for a worker that is suspended meanwhile.
    run.wait_until((run.folder / "global_step_4").exists, STARTS, "checkpoint")
    worker.suspend()
    run.wait_until(lambda: run.marked() == "4", STARTS, "whole checkpoint")
    time.sleep(2)
    with measured("vLLM's engine killed during the weight sync", "named in the last line"):
        engine.kill()
        worker.kill()
        require_good_end(run, 1, "failed", "step 4 of 400, the weight sync: vllm server 0 died")


def test_a_killed_driver_leaves_no_process_and_no_segment(training, measured):
    run = training()
    run.train(3)
    with measured("the starting process killed with -9", "every process ends"):
        run.driver.kill()
        run.wait_for_all(30)
    assert run.segments_left() == []
    assert run.report()["ending"]["how"] == "running"


def test_an_address_that_nothing_answers_is_refused_before_anything_starts(tmp_path, measured, small):
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    with measured("`RAY_ADDRESS` that nothing answers", "refused before anything starts"):
        run = WatchedRun(started(command(folder), log, ENVIRONMENT | {"RAY_ADDRESS": "127.0.0.1:1"}), log)
        try:
            assert run.driver.wait(30) == 1
        finally:
            run.close()
    assert "RAY_ADDRESS=127.0.0.1:1: no Ray cluster answers there" in run.last_lines()
    assert not folder.exists()


def test_a_port_that_another_program_has_taken_is_refused_before_anything_starts(tmp_path, measured, small):
    """Ray would try for 40 s, and call it a bug of its own."""
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with measured("`RAY_GCS_SERVER_PORT` that is taken", "refused before anything starts"):
            variables = ENVIRONMENT | {"RAY_GCS_SERVER_PORT": str(port)}
            run = WatchedRun(started(command(folder), log, variables), log)
            try:
                assert run.driver.wait(ENDS) == 1
            finally:
                run.close()
    assert f"RAY_GCS_SERVER_PORT={port}: another program listens on this port." in run.last_lines()
    assert not folder.exists()


def test_ctrl_c_in_a_terminal_ends_the_rehearsal_with_the_last_checkpoint(measured):
    name = f"interrupted-{uuid.uuid4().hex[:8]}"
    stock = {key: value for key, value in os.environ.items() if key != "VERL_PLATFORM"}
    folder = REPOSITORY / "outputs" / name
    recipe = ["bash", "recipes/rehearse_cpu.sh", "trainer.save_freq=1", "trainer.total_training_steps=200"]
    with Terminal(recipe, cwd=REPOSITORY, environment=stock | {"RUN_NAME": name}) as terminal:
        deadline = time.monotonic() + STARTS
        while not (folder / "checkpoints" / "latest_checkpointed_iteration.txt").exists():
            assert time.monotonic() < deadline
            time.sleep(0.5)
        with measured("Ctrl-C in a terminal on `bash recipes/rehearse_cpu.sh`", "with the last checkpoint"):
            terminal.press_ctrl_c()
            assert terminal.end(ENDS) == 130
    assert "Training ended with exit code 130" in terminal.shown
    assert "The last checkpoint is " in terminal.shown.splitlines()[-1]
    shutil.rmtree(folder)


def test_a_run_that_reaches_its_end_leaves_nothing_and_listens_on_loopback_only(training):
    run = training("trainer.total_training_steps=3")
    run.train(2)
    found = {address for address, _ in listeners(run.folder, RAY)}
    assert run.driver.wait(STARTS) == 0
    require_nothing_left(run)
    assert run.report()["ending"]["how"] == "finished"
    assert found == {"127.0.0.1"}
