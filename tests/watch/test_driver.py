"""What the starting process of a run does with signals, and what it says last; no Ray is started."""

from __future__ import annotations

import json
import signal
import time
from unittest.mock import Mock

import pytest
import ray
from omegaconf import OmegaConf
from ray.exceptions import ActorDiedError, RayTaskError

from verl_egrsd.processes import KILLED
from verl_egrsd.report.ending import RunEndedError, RunStoppedError, ending
from verl_egrsd.watch import driver
from verl_egrsd.watch.driver import Runner, Stop, run_watched

# By a thread: what is tested uses the timer of pytest's other method.
pytestmark = pytest.mark.timeout(120, method="thread")


@pytest.fixture(autouse=True)
def _handlers():
    """Put the handlers of signals back, and end the timer."""
    numbers = (*driver.SIGNALS, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    """Run something in place of verl; return exit code, last line and the report's ending."""
    trainer = {"default_local_dir": str(tmp_path), "total_training_steps": 9, "save_freq": 5}
    config = OmegaConf.create({"trainer": {**trainer, "resume_mode": "auto"}})
    path, shut_down = tmp_path / "report.json", []
    monkeypatch.setattr(driver, "start_reaper", Mock)
    monkeypatch.setattr("verl_egrsd.report.run.report_page", lambda *_: "")
    monkeypatch.setattr(
        ray, "shutdown", lambda: shut_down.append(json.loads(path.read_text())["ending"]["how"])
    )

    def run(error, how="running", why=None):
        def train(config, task_runner_class):
            report = {"ending": ending(how, why), "breaks": [], "steps": 3, "curves": {}}
            path.write_text(json.dumps(report))
            (tmp_path / "report.jsonl").touch()
            (tmp_path / "report.html").touch()
            raise error

        monkeypatch.setattr(driver, "run_ppo", train)
        with pytest.raises(SystemExit) as left:
            run_watched(config)
        # The trainer may write another step until Ray has ended it.
        assert shut_down == [how]
        *_, before, last = capsys.readouterr().err.splitlines()
        assert before == f"verl_egrsd: the report is {tmp_path / 'report.html'}"
        return left.value.code, last.removeprefix("verl_egrsd: "), json.loads(path.read_text())["ending"]

    return run


NONE = "There is no checkpoint (trainer.save_freq=5): the same command begins anew."


def test_in_a_file_for_both_streams_the_last_line_comes_last(ended, tmp_path, monkeypatch):
    """Python keeps for a while what it prints to a file."""
    path = tmp_path / "log.txt"
    with path.open("a") as out, path.open("a", buffering=1) as err:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        print("what a worker said")
        with pytest.raises(ValueError, match="unpack"):  # nothing is left for the fixture to read
            ended(RuntimeError("x"))
    assert path.read_text().index("what a worker said") < path.read_text().index("verl_egrsd: the run ended")


@pytest.mark.parametrize(
    ("error", "code", "how", "line"),
    [
        (
            KeyboardInterrupt(),
            130,
            "stopped",
            f"the run ended in step 4 of 9: SIGINT ended it at once. {NONE}",
        ),
        (SystemExit(15), 143, "stopped", f"the run ended in step 4 of 9: SIGTERM ended it at once. {NONE}"),
        (
            *(ActorDiedError(), 1, "failed"),
            f"the run ended in step 4 of 9: the trainer's process died: {KILLED}. {NONE}",
        ),
        (
            *(RayTaskError("run", "pages of a traceback", OSError("no such port")), 1, "failed"),
            f"the run ended in step 4 of 9: OSError: no such port. {NONE}",
        ),
        (RayTaskError("run", "", RunEndedError("vllm died.")), 1, "failed", "vllm died."),
        (RayTaskError("run", "", RunStoppedError("asked to.")), 1, "stopped", "asked to."),
    ],
)
def test_the_last_line_the_exit_code_and_the_report_agree(ended, error, code, how, line):
    found_code, last, noted = ended(error)
    assert (found_code, last) == (code, line)
    assert (noted["how"], noted["why"]) == (how, line)


def test_a_trainer_that_gave_up_has_the_last_word(ended):
    code, last, noted = ended(ActorDiedError(), "failed", "the weight sync took longer than its limit")
    assert (code, last) == (1, "the weight sync took longer than its limit")
    assert noted["why"] == last


@pytest.fixture
def stop(monkeypatch):
    """A Stop that listens while a trainer runs; `clock` is the time, `asked` who was asked to stop."""
    clock, asked = [100.0], []
    monkeypatch.setattr(driver.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(driver, "ask_to_stop", lambda: asked.append("the trainer"))
    found = Stop(30.0)
    found.clock, found.asked, found.running = clock, asked, True
    found.listen()
    return found


def test_the_first_signal_asks_the_trainer_and_gives_it_time(stop, capsys):
    signal.raise_signal(signal.SIGTERM)
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30
    assert stop.exit_code == 143
    assert "SIGTERM: the run ends after its step, or in 30 s (watchdog.stop)" in capsys.readouterr().err
    stop.asking.join()
    assert stop.asked == ["the trainer"]


def test_the_second_signal_ends_the_run_unless_it_is_the_first_one_passed_on_by_a_process_between(stop):
    signal.raise_signal(signal.SIGINT)
    stop.clock[0] += driver.SAME_SECONDS / 2
    signal.raise_signal(signal.SIGINT)
    stop.clock[0] += 2 * driver.SAME_SECONDS
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert stop.by == signal.SIGINT


def test_a_run_that_has_not_begun_or_has_no_time_ends_at_once(stop):
    stop.running = False
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    stop.running, stop.by, stop.seconds = True, None, 0
    stop.clock[0] += 60
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_the_time_of_the_step_in_progress_ends(stop):
    stop.seconds = 0.05
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        time.sleep(60)
    stop.asking.join()
    assert stop.asked == ["the trainer"]


def test_verls_options_for_its_profiler_reach_the_trainers_process():
    class Actor:
        given = None

        @classmethod
        def options(cls, **options):
            cls.given = options
            return cls

    assert Runner(Stop(1.0), Actor).options(runtime_env={"nsight": {}}).actor is Actor
    assert Actor.given == {"runtime_env": {"nsight": {}}}
