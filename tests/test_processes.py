"""Ctrl-C and SIGTERM end a command alike, and a process ends with the one that started it."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import psutil
import pytest

from verl_egrsd import processes
from verl_egrsd.cpu import ENDS_WITH
from verl_egrsd.cpu.vllm import register
from verl_egrsd.processes import ended_by_signals, interruptible

PARENT = """
import multiprocessing, time
from verl_egrsd.processes import end_with_parent

def child():
    end_with_parent()
    print(multiprocessing.current_process().pid, flush=True)
    time.sleep(60)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=child).start()
    time.sleep(60)
"""
DRAWING = """
import asyncio, time
from verl_egrsd.processes import ended_by_signals, interruptible

async def draw():
    try:
        if {blocked}:
            with interruptible():
                print("drawing", flush=True)
                time.sleep(60)
        print("drawing", flush=True)
        await asyncio.sleep(60)
    finally:
        print("cleaned", flush=True)

with ended_by_signals("draw"), interruptible():
    asyncio.run(draw())
"""


def started(tmp_path, program):
    script = tmp_path / "program.py"
    script.write_text(program)
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    with started(tmp_path, PARENT) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        child.wait(timeout=30)


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize(
    ("number", "ctrl_c"),
    [
        (signal.SIGTERM, "signal.default_int_handler"),
        (signal.SIGTERM, "signal.SIG_IGN"),
        (signal.SIGINT, "signal.default_int_handler"),
    ],
)
def test_a_signal_interrupts_a_loop_and_a_blocking_call_in_it_and_lets_both_clean_up(
    tmp_path, blocked, number, ctrl_c
):
    """A shell has what it starts in the background ignore SIGINT."""
    program = f"import signal; signal.signal(signal.SIGINT, {ctrl_c})\n" + DRAWING.format(blocked=blocked)
    with started(tmp_path, program) as process:
        assert process.stdout.readline() == "drawing\n"
        process.send_signal(number)
        said = process.communicate(timeout=30)[0].splitlines()
        assert said == ["cleaned", "draw: interrupted: run the same command again."]
        assert process.returncode == 128 + number


def test_handlers_are_put_back_and_other_threads_leave_them_alone():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with ended_by_signals("it"), interruptible():
        assert signal.getsignal(signal.SIGTERM) != before[0]
        inside = signal.getsignal(signal.SIGTERM)

        def elsewhere():
            with ended_by_signals("it"):
                pass

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) == inside
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(("named", "tied"), [(None, 0), ("itself", 0), ("another", 1)])
def test_the_plug_in_of_vllm_ties_every_process_of_an_evaluation_but_not_the_evaluation(
    monkeypatch, named, tied
):
    calls = []
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    monkeypatch.delenv(ENDS_WITH, raising=False)
    if named is not None:
        monkeypatch.setenv(ENDS_WITH, str(os.getpid() + (named == "another")))
    monkeypatch.setattr("verl_egrsd.cpu.vllm.end_with_parent", lambda: calls.append("tied"))
    register()
    assert len(calls) == tied


@pytest.mark.parametrize(("first", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_of_two_signals_ends_a_process_and_the_second_breaks_nothing_off(first, code, capsys):
    @contextmanager
    def cleaned_up():
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(number)

    with pytest.raises(SystemExit) as left, ended_by_signals("it", "ended."), cleaned_up():
        signal.raise_signal(first)
    assert (left.value.code, capsys.readouterr().err) == (code, "it: ended.\n")


def test_the_last_line_of_an_interrupted_command_is_what_the_interrupt_says(capsys):
    with pytest.raises(SystemExit), ended_by_signals("it"):
        raise KeyboardInterrupt("interrupted after 2 of 3.")
    assert capsys.readouterr().err == "it: interrupted after 2 of 3.\n"


def test_a_later_signal_is_another_one(monkeypatch):
    monkeypatch.setattr(processes, "SAME_SECONDS", 0.0)
    with ended_by_signals("it"):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
