"""The command with scripted stages: killed in each of them, it goes on, and loses and repeats nothing."""

import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

import psutil
import pytest

from recipes.reproduce import run as command
from recipes.reproduce.spent import SPENT_FILE, read_spent
from recipes.reproduce.stages import Work

pytestmark = pytest.mark.stack

NAMES = ("first", "second", "page")
SCRIPT = """
import pathlib, sys, time
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with (folder / "begun.txt").open("a") as file:
    print(name, file=file, flush=True)
while (folder / f"hold-{name}").exists():
    time.sleep(0.02)
if (folder / f"fail-{name}").exists():
    sys.exit(f"{name}: no space left")
if not (folder / f"nothing-{name}").exists():
    (folder / f"{name}.result").touch(exist_ok=False)
"""


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """Three stages whose commands write one file each, and hold while a file says so."""

    def works(name, plan):
        result = tmp_path / f"{name}.result"
        words = [sys.executable, "-c", SCRIPT, str(tmp_path), name]
        yield Work(name, words, lambda: None if result.exists() else f"{result} is not there")

    monkeypatch.setattr(command, "STAGES", {name: partial(works, name) for name in NAMES})
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return tmp_path


def run_here(folder, *more):
    words = ["--model", "qwen3_4b", "--hardware", "cpu", "--arms", "egrsd"]
    return command.main([*words, "--out", str(folder / "out"), *more])


def begun(folder):
    file = folder / "begun.txt"
    return file.read_text().split() if file.exists() else []


def wait_until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def driver(scripted):
    """Run the command in a process of its own; it has ended after the test, and its command with it."""
    started = []

    def start():
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = run_here(scripted)
            except SystemExit as ended:
                code = ended.code
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        started.append(psutil.Process(pid))
        return started[-1]

    yield start
    for process in started:
        with suppress(psutil.Error):
            process.kill()
            process.wait(60)


ENDS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143}
"""The exit code after each signal."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", ENDS)
def test_a_run_that_ends_in_a_stage_goes_on_there(scripted, driver, capfd, name, number):
    hold = scripted / f"hold-{name}"
    hold.touch()
    process = driver()
    wait_until(lambda: name in begun(scripted))
    (running,) = process.children()
    process.send_signal(number)
    assert process.wait(60) == ENDS[number]
    wait_until(lambda: not running.is_running())
    before = NAMES[: NAMES.index(name)]
    assert sorted(path.stem for path in scripted.glob("*.result")) == sorted(before)
    hold.unlink()
    assert run_here(scripted) == 0
    # The results before it were not made again: their commands would have failed.
    assert begun(scripted) == [*before, name, *NAMES[len(before) :]]
    assert {found: spent.attempts for found, spent in read_spent(scripted / "out").items()} == {
        each: 1 + (each == name) for each in NAMES
    }
    said = capfd.readouterr()
    assert ("interrupted; the same command goes on" in said.err) == (number != signal.SIGKILL)
    assert "the results are in" in said.out


def test_a_second_command_on_the_folder_is_refused_while_the_first_one_runs(scripted, driver, capsys):
    (scripted / "hold-first").touch()
    first = driver()
    wait_until(lambda: begun(scripted))
    assert run_here(scripted) == 1
    assert "is in use by process" in capsys.readouterr().err
    assert begun(scripted) == ["first"]
    (scripted / "hold-first").unlink()
    assert first.wait(60) == 0
    assert begun(scripted) == [*NAMES]


def test_a_command_that_fails_ends_the_run_with_the_end_of_its_log(scripted, capsys):
    (scripted / "fail-second").touch()
    assert run_here(scripted) == 1
    assert "second: no space left" in capsys.readouterr().err
    assert begun(scripted) == ["first", "second"]


def test_a_killed_command_whose_result_is_whole_is_not_repeated_and_its_time_counts(scripted):
    assert run_here(scripted) == 0
    spent = scripted / "out" / SPENT_FILE
    *lines, _ = [line for line in spent.read_text().splitlines() if "second" in line]
    spent.write_text("\n".join(lines) + "\n")
    assert read_spent(scripted / "out")["second"].seconds == 0
    log = scripted / "out" / "logs" / "second.log"
    os.utime(log, (log.stat().st_mtime + 30,) * 2)
    assert run_here(scripted) == 0
    assert begun(scripted) == [*NAMES]
    assert read_spent(scripted / "out")["second"].seconds == pytest.approx(30, abs=5)


def test_a_result_that_is_no_longer_valid_makes_way_for_the_new_one(scripted, monkeypatch):
    old = scripted / "models"
    old.mkdir()
    works = command.STAGES["first"]
    monkeypatch.setitem(command.STAGES, "first", lambda plan: [replace(next(works(plan)), stale=old)])
    assert run_here(scripted) == 0
    assert not old.exists()


def test_a_command_that_leaves_no_valid_result_ends_the_run(scripted, capsys):
    (scripted / "nothing-first").touch()
    assert run_here(scripted) == 1
    assert "first ended without an error, but" in capsys.readouterr().err
    assert begun(scripted) == ["first"]


def test_what_is_done_is_not_done_again_and_what_is_gone_is(scripted):
    assert run_here(scripted) == run_here(scripted) == 0
    assert begun(scripted) == [*NAMES]
    (scripted / "second.result").unlink()
    assert run_here(scripted) == 0
    assert begun(scripted) == [*NAMES, "second"]


def test_a_stage_runs_by_itself_and_a_dry_run_runs_none(scripted, capsys):
    assert run_here(scripted, "--dry-run") == 0
    assert not begun(scripted)
    assert run_here(scripted, "--stages", "first") == 0
    assert begun(scripted) == ["first"]
    assert "second     (not chosen) 0 of 1 done" in capsys.readouterr().out
    assert run_here(scripted, "--stages", "second") == 0
    assert begun(scripted) == ["first", "second"]


def test_the_time_of_an_attempt_that_was_killed_lasts_until_its_log_was_written_last(tmp_path):
    from recipes.reproduce.spent import close_killed, spending

    log = tmp_path / "log"
    log.touch()
    os.utime(log, (1030, 1030))
    (tmp_path / SPENT_FILE).write_text(
        '{"name": "x", "event": "begin", "at": 1000.0, "gpus": 2}\n{"name": "x", "ev'
    )
    close_killed(tmp_path, "x", log)
    assert read_spent(tmp_path)["x"] == (30, 1, pytest.approx(60 / 3600))
    with spending(tmp_path, "x"):
        pass
    (found,) = read_spent(tmp_path).values()
    assert found.attempts == 2
    assert found.seconds == pytest.approx(30, abs=5)
