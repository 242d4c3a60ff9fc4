"""What ends the drawing of samples; the engine is a stand-in."""

import asyncio
import os
import signal
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from verl_egrsd.evaluation import drawing, progress, run
from verl_egrsd.evaluation.drawing import Task, draw_samples
from verl_egrsd.evaluation.problems import Problem
from verl_egrsd.evaluation.samples import SampleLog
from verl_egrsd.evaluation.settings import EngineOptions, Settings
from verl_egrsd.processes import ended_by_signals

PROBLEM = Problem("p", 0, [{"role": "user", "content": "1 + 1"}], "2", "1 + 1")


class Engine:
    """Never answers, and cannot say how far it is."""

    async def answer(self, name, prompt, seed):
        await asyncio.Event().wait()

    async def lengths(self):
        raise TypeError("the engine does not say how far it is")


class Interrupted:
    """Fails at the moment of Ctrl-C, which some process of it got too."""

    async def answer(self, name, prompt, seed):
        if name != "sums/p/0":
            await asyncio.Event().wait()
        os.kill(os.getpid(), signal.SIGINT)
        raise RuntimeError("a process did not start")

    async def lengths(self):
        return []


@pytest.fixture
def drawing_with(tmp_path, monkeypatch):
    """Draw three samples with an engine."""

    def drawn(engine):
        monkeypatch.setattr(drawing, "_engine", lambda *_: nullcontext(engine))
        monkeypatch.setattr(drawing, "PromptRenderer", lambda *_, **__: lambda _: SimpleNamespace(ids=[1]))
        tasks = [Task("sums", PROBLEM, sample) for sample in range(3)]
        with SampleLog(tmp_path) as log:
            model = SimpleNamespace(model=tmp_path)
            asyncio.run(draw_samples(tasks, log, model, Settings(), EngineOptions()))

    return drawn


def test_when_the_progress_cannot_be_followed_the_drawing_ends_with_the_reason(drawing_with, monkeypatch):
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    with pytest.raises(TypeError, match="the engine does not say how far it is"):
        drawing_with(Engine())


def test_what_fails_at_the_moment_of_ctrl_c_does_not_hide_it(drawing_with):
    with pytest.raises(KeyboardInterrupt):
        drawing_with(Interrupted())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_drawing_and_the_last_line_counts_the_samples_that_are_kept(
    capsys, number, code
):
    cancelled = []

    async def drawn():
        try:
            signal.raise_signal(number)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(SystemExit) as left, ended_by_signals("verl-egrsd eval"):
        run._run(drawn(), SimpleNamespace(done={1, 2}), range(3))
    assert (left.value.code, cancelled) == (code, [True])
    said = "verl-egrsd eval: interrupted after 2 of 3 samples: run the same command again.\n"
    assert capsys.readouterr().err == said
