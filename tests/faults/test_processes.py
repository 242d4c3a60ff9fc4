"""Processes of real runs are killed and stopped: each run says what died, and leaves nothing behind.

One start each: a run whose process died is over. The rollouts are scripted where vLLM is not what dies.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import time
import uuid
from contextlib import suppress

import psutil
import pytest

from tests.faults.run import REPOSITORY, WatchedRun, started
from tests.faults.training import (
    ENDS,
    ENVIRONMENT,
    RAY,
    SCRIPTED,
    STARTS,
    Training,
    command,
    environment,
    require_good_end,
    require_last_line,
    require_nothing_left,
)
from tests.support.listeners import listeners
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1500)]

HANGS = 40
"""Seconds that a phase may take in the run that hangs."""


def test_ctrl_c_in_a_terminal_lets_the_step_end_as_sigterm_does(small, tmp_path, measured):
    """Through `timeout`, as in the recipes: the run gets the terminal's signal, and a copy of it."""
    overrides = (*SCRIPTED, "trainer.save_freq=100", "watchdog.stop=50")
    training = shlex.join(command(tmp_path, *overrides))
    script = f"source recipes/common.sh; within 900 {training} > {tmp_path}/log.txt 2>&1 || exit $?"
    variables = os.environ | environment(tmp_path, *overrides)
    with Terminal(["bash", "-c", script], cwd=REPOSITORY, environment=variables) as terminal:
        run = Training(psutil.Process(terminal.process.pid), tmp_path, tmp_path / "log.txt")
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


def test_the_end_of_the_time_limit_lets_the_step_end_and_is_one_sentence(small, tmp_path, measured):
    """As in the recipes; the limit holds from the start of the command."""
    overrides, limit = (*SCRIPTED, "trainer.save_freq=100", "watchdog.stop=50"), 150
    training = shlex.join(command(tmp_path, *overrides, "trainer.total_training_steps=4000"))
    log = tmp_path / "log.txt"
    script = ["bash", "-c", f"source recipes/common.sh; within {limit} {training} > {log} || exit $?"]
    began = time.monotonic()
    run = Training(started(script, tmp_path / "said.txt", environment(tmp_path, *overrides)), tmp_path, log)
    try:
        run.train(1)
        time.sleep(max(0, began + limit - time.monotonic()))
        with measured("the `TIME_LIMIT` of a recipe", "after the step, with a checkpoint"):
            assert run.driver.wait(ENDS) == 124
            require_nothing_left(run)
    finally:
        run.close()
    assert (tmp_path / "said.txt").read_text().splitlines()[-1] == (
        f"The time limit was over after {limit} seconds: a higher TIME_LIMIT lets the run go on longer."
    )
    assert (run.report()["ending"]["how"], run.checkpoints()) == ("stopped", [run.steps()])


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
