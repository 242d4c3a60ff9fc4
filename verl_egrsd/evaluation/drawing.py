"""Draws samples: an engine answers, the verifier judges, and each sample is written when it is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from verl_egrsd.evaluation.generation import Answer, Engine, running_engine
from verl_egrsd.evaluation.model import Servable
from verl_egrsd.evaluation.problems import Problem
from verl_egrsd.evaluation.progress import Progress
from verl_egrsd.evaluation.prompts import Prompt, PromptRenderer
from verl_egrsd.evaluation.samples import Key, Sample, SampleLog
from verl_egrsd.evaluation.settings import EngineOptions, Settings
from verl_egrsd.reward import Verdict, VerdictPool

if TYPE_CHECKING:
    from verl_egrsd.evaluation.replicas import Replicas

VERDICT_PROCESSES = 2
"""Processes that judge answers; each judges some hundred answers a second."""


@dataclass(frozen=True)
class Task:
    """One sample of an evaluation: a problem and the number of the answer to it."""

    benchmark: str
    problem: Problem
    sample: int

    @property
    def key(self) -> Key:
        """What identifies the sample in its run."""
        return self.benchmark, self.problem.id, self.sample


async def draw_samples(
    tasks: Sequence[Task], log: SampleLog, model: Servable, settings: Settings, options: EngineOptions
) -> None:
    """Draw samples and write each when it is judged; vLLM batches all running requests."""
    render = PromptRenderer(model.model, thinking=settings.thinking, template=settings.teacher_template)
    prompts = _prompts(tasks, render)
    longest = max(len(prompt.ids) for prompt in prompts.values())
    with (
        _engine(model, settings, options, longest, len(tasks)) as engine,
        VerdictPool(VERDICT_PROCESSES) as pool,
        ThreadPoolExecutor(VERDICT_PROCESSES) as threads,
        Progress(len(log.done) + len(tasks), log.lengths, settings.max_new_tokens) as progress,
    ):

        async def draw(task: Task) -> None:
            prompt = prompts[task.problem.id]
            seed = settings.seed_for(*task.key)
            answer = await engine.answer("/".join(map(str, task.key)), prompt.ids, seed)
            judge = partial(
                pool.verify_one,
                problem=task.problem.text,
                inside_reasoning=prompt.inside_reasoning,
            )
            loop = asyncio.get_running_loop()
            verdict = await loop.run_in_executor(threads, judge, answer.text, task.problem.ground_truth)
            log.append(_sample(task, seed, answer, verdict))
            progress.add(answer.tokens)

        try:
            async with asyncio.TaskGroup() as group:
                following = group.create_task(progress.follow(engine.lengths))
                await asyncio.wait([group.create_task(draw(task)) for task in tasks])
                following.cancel()
        except BaseExceptionGroup as errors:
            if _interrupted():
                raise asyncio.CancelledError from errors
            # When vLLM dies, all running requests fail with the same error: raise one of them.
            alike = len({str(error) for error in errors.exceptions}) == 1
            raise errors.exceptions[0] from (None if alike else errors)


def _interrupted() -> bool:
    """Return whether Ctrl-C ends this task; it may reach a process whose end then fails another task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _engine(
    model: Servable, settings: Settings, options: EngineOptions, longest_prompt: int, samples: int
) -> AbstractContextManager[Engine | Replicas]:
    """Return one engine where there is one GPU, else replicas, whose imports take longer."""
    if not options.needs_ray():
        return running_engine(model, settings, options, longest_prompt)
    from verl_egrsd.evaluation.fleet import running_replicas

    return running_replicas(model, settings, options, longest_prompt, samples)


def _prompts(tasks: Sequence[Task], render: PromptRenderer) -> dict[str, Prompt]:
    """Return the prompt of each problem by its id; each problem is rendered once."""
    problems = {task.problem.id: task.problem for task in tasks}
    return {name: render(problem) for name, problem in problems.items()}


def _sample(task: Task, seed: int, answer: Answer, verdict: Verdict) -> Sample:
    return Sample(
        benchmark=task.benchmark,
        problem=task.problem.id,
        index=task.problem.index,
        sample=task.sample,
        seed=seed,
        tokens=answer.tokens,
        finish_reason=answer.finish_reason,
        extracted=verdict.extracted,
        correct=verdict.correct,
        reason=verdict.reason,
        text=answer.text,
    )
