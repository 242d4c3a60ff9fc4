"""One evaluation: draw the missing samples, judge each when it arrives, and write the summary."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from tqdm import tqdm

from verl_egrsd.evaluation.generation import (
    Answer,
    EngineOptions,
    Prompt,
    PromptRenderer,
    quiet_vllm,
    running_engine,
)
from verl_egrsd.evaluation.model import Servable, Source, find_model, servable
from verl_egrsd.evaluation.problems import Benchmarks, Problem, problems_digest
from verl_egrsd.evaluation.samples import Key, Sample, SampleLog, begin_or_resume
from verl_egrsd.evaluation.settings import Settings
from verl_egrsd.evaluation.summary import Summary, write_summary
from verl_egrsd.reward import Verdict, VerdictPool, self_test

VERDICT_PROCESSES = 2
"""Processes that judge answers; each judges some hundred answers a second."""
EXPORTED = "exported_model"
"""Folder beside the samples that a checkpoint is exported into."""
_PACKAGES = ("verl_egrsd", "torch", "transformers", "math-verify", "numpy")
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
"""tqdm's bar, which shows samples per second even if a sample takes longer than a second."""


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


def evaluate(
    model: str,
    benchmarks: Benchmarks,
    out: Path,
    *,
    settings: Settings,
    base: str | None = None,
    name: str | None = None,
    options: EngineOptions | None = None,
) -> Summary:
    """Evaluate a model, or resume an interrupted evaluation.

    Args:
        model: a model folder or hub id, a peft adapter folder, or `global_step_N` of a training run.
        benchmarks: problems by name of the benchmark.
        out: folder for `settings.json`, `samples.jsonl`, `summary.json` and `summary.md`.
        settings: how answers are sampled.
        base: base model of an adapter or a checkpoint; None takes the one recorded there.
        name: name in tables; None takes that of the folder `out`.
        options: how vLLM uses the machine.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ValueError, OSError, RuntimeError: see :func:`complete_samples`.
    """
    complete_samples(model, benchmarks, out, settings=settings, base=base, name=name, options=options)
    return write_summary(out)


def complete_samples(
    model: str,
    benchmarks: Benchmarks,
    out: Path,
    *,
    settings: Settings,
    base: str | None = None,
    name: str | None = None,
    options: EngineOptions | None = None,
) -> None:
    """Draw and judge the samples that a folder lacks; arguments as :func:`evaluate`.

    Raises:
        ValueError: when the folder holds samples drawn with other settings, or when a benchmark or base model
            does not fit.
        OSError: when a named file or folder is missing, when another process writes to the folder, or when
            the run was interrupted (`InterruptedError`).
        RuntimeError: when the verifier does not work on this machine, or vLLM fails.
    """
    if unknown := settings.samples_of.keys() - benchmarks.keys():
        raise ValueError(
            f"--samples names {min(unknown)}; the benchmarks of this evaluation are {', '.join(benchmarks)}."
        )
    source = find_model(model, base)
    facts = {
        "name": name or out.resolve().name,
        "model": model,
        "base": source.base and str(source.base),
        "date": date.today().isoformat(),
        "identity": _identity(source, benchmarks, settings),
    }
    tasks = _tasks(benchmarks, settings)
    out.mkdir(parents=True, exist_ok=True)
    with SampleLog(out) as log:
        begin_or_resume(out, facts)
        missing = [task for task in tasks if task.key not in log.done]
        if missing:
            self_test()
            _run(_draw(missing, log, servable(source, out / EXPORTED), settings, options), log, len(tasks))


def _tasks(benchmarks: Benchmarks, settings: Settings) -> list[Task]:
    """Return every sample of the evaluation, in the order of the benchmarks."""
    return [
        Task(benchmark, problem, sample)
        for benchmark, problems in benchmarks.items()
        for problem in problems
        for sample in range(settings.samples_for(benchmark))
    ]


def _run(drawing: Coroutine[Any, Any, None], log: SampleLog, samples: int) -> None:
    """Draw to the end; say how far the log got when the user interrupts."""
    try:
        asyncio.run(drawing)
    except KeyboardInterrupt:
        raise InterruptedError(
            f"interrupted after {len(log.done)} of {samples} samples: run the same command again."
        ) from None


async def _draw(
    tasks: Sequence[Task], log: SampleLog, model: Servable, settings: Settings, options: EngineOptions | None
) -> None:
    """Draw samples and write each when it is judged; vLLM batches all running requests."""
    prompts = _prompts(tasks, PromptRenderer(model.model, thinking=settings.thinking))
    longest = max(len(prompt.ids) for prompt in prompts.values())
    done = len(log.done)
    with (
        running_engine(model, settings, options or EngineOptions(), longest) as engine,
        VerdictPool(VERDICT_PROCESSES) as pool,
        ThreadPoolExecutor(VERDICT_PROCESSES) as threads,
        tqdm(desc="samples", total=done + len(tasks), initial=done, unit="samples", bar_format=BAR) as bar,
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
            bar.update()

        try:
            async with asyncio.TaskGroup() as group:
                for task in tasks:
                    group.create_task(draw(task))
        except BaseExceptionGroup as errors:
            # When vLLM dies, all running requests fail with the same error: raise one of them.
            raise errors.exceptions[0] from None


def _prompts(tasks: Sequence[Task], render: PromptRenderer) -> dict[str, Prompt]:
    """Return the prompt of each problem by its id; each problem is rendered once."""
    problems = {task.problem.id: task.problem for task in tasks}
    return {name: render(problem.messages) for name, problem in problems.items()}


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


def _identity(source: Source, benchmarks: Benchmarks, settings: Settings) -> dict[str, Any]:
    """Return everything that affects the answers: a run is resumed only if all of it is equal."""
    return {
        "model": {"sha256": source.sha256, "base_sha256": source.base_sha256},
        "settings": asdict(settings),
        "benchmarks": {
            benchmark: {
                "problems": len(problems),
                "samples": settings.samples_for(benchmark),
                "sha256": problems_digest(problems),
            }
            for benchmark, problems in benchmarks.items()
        },
        "versions": _versions(),
    }


def _versions() -> dict[str, Any]:
    return {
        "python": python_version(),
        # Not from the metadata: vLLM's CPU build has another distribution name.
        "vllm": quiet_vllm().__version__,
        **{name: version(name) for name in _PACKAGES},
    }
