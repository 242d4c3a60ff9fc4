"""What ends the drawing of samples; the engine is a stand-in."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from verl_egrsd.evaluation import drawing, progress
from verl_egrsd.evaluation.drawing import Task, draw_samples
from verl_egrsd.evaluation.problems import Problem
from verl_egrsd.evaluation.samples import SampleLog
from verl_egrsd.evaluation.settings import EngineOptions, Settings

PROBLEM = Problem("p", 0, [{"role": "user", "content": "1 + 1"}], "2", "1 + 1")


class Engine:
    """Never answers, and cannot say how far it is."""

    async def answer(self, name, prompt, seed):
        await asyncio.Event().wait()

    async def lengths(self):
        raise TypeError("the engine does not say how far it is")


def test_when_the_progress_cannot_be_followed_the_drawing_ends_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(drawing, "_engine", lambda *_: nullcontext(Engine()))
    monkeypatch.setattr(drawing, "PromptRenderer", lambda *_, **__: lambda _: SimpleNamespace(ids=[1]))
    tasks = [Task("sums", PROBLEM, sample) for sample in range(3)]
    with SampleLog(tmp_path) as log:
        drawn = draw_samples(tasks, log, SimpleNamespace(model=tmp_path), Settings(), EngineOptions())
        with pytest.raises(TypeError, match="the engine does not say how far it is"):
            asyncio.run(asyncio.wait_for(drawn, 60))
