"""One evaluation: draw the missing samples, judge each when it arrives, and write the summary."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from verl_egrsd.evaluation.drawing import Task, draw_samples
from verl_egrsd.evaluation.generation import quiet_vllm
from verl_egrsd.evaluation.model import Source, find_model, servable
from verl_egrsd.evaluation.problems import Benchmarks, privileged_digest, problems_digest
from verl_egrsd.evaluation.samples import SampleLog, begin_or_resume
from verl_egrsd.evaluation.settings import EngineOptions, Settings
from verl_egrsd.evaluation.summary import Summary, write_summary
from verl_egrsd.processes import interruptible
from verl_egrsd.reward import self_test

EXPORTED = "exported_model"
"""Folder beside the samples that a checkpoint is exported into."""
_PACKAGES = ("verl_egrsd", "torch", "transformers", "math-verify", "numpy")


def evaluate(
    model: str,
    benchmarks: Benchmarks,
    out: Path,
    *,
    settings: Settings,
    base: str | None = None,
    name: str | None = None,
    files: Mapping[str, Path] | None = None,
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
        files: files of the benchmarks by name, which `settings.json` notes for `verl-egrsd inspect`.
        options: how vLLM uses the machine.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ValueError, OSError, RuntimeError: see :func:`complete_samples`.
    """
    complete_samples(
        model, benchmarks, out, settings=settings, base=base, name=name, files=files, options=options
    )
    return write_summary(out)


def complete_samples(
    model: str,
    benchmarks: Benchmarks,
    out: Path,
    *,
    settings: Settings,
    base: str | None = None,
    name: str | None = None,
    files: Mapping[str, Path] | None = None,
    options: EngineOptions | None = None,
) -> None:
    """Draw and judge the samples that a folder lacks; arguments as :func:`evaluate`.

    Raises:
        ValueError: when the folder holds samples drawn with other settings, or when a benchmark or base model
            does not fit.
        OSError: when a named file or folder is missing, or when another process writes to the folder.
        KeyboardInterrupt: when the drawing was interrupted, with the number of samples that are kept.
        RuntimeError: when the verifier does not work on this machine, or vLLM fails.
    """
    if unknown := settings.samples_of.keys() - benchmarks.keys():
        raise ValueError(
            f"--samples names {min(unknown)}; the benchmarks of this evaluation are {', '.join(benchmarks)}."
        )
    _require_one_template(benchmarks, settings)
    source = find_model(model, base)
    facts = {
        "name": name or _name(out, settings),
        "model": model,
        "base": source.base and str(source.base),
        "files": {benchmark: str(file.resolve()) for benchmark, file in (files or {}).items()},
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
            print(
                f"verl_egrsd: {len(missing)} of {len(tasks)} samples are to be drawn. vLLM starts, which may "
                "take minutes.",
                file=sys.stderr,
                flush=True,
            )
            model_to_load = servable(source, out / EXPORTED)
            _run(draw_samples(missing, log, model_to_load, settings, options or EngineOptions()), log, tasks)


def _require_one_template(benchmarks: Benchmarks, settings: Settings) -> None:
    """Refuse problems that were read for another side than the settings name."""
    for_teacher = {one.privileged is not None for problems in benchmarks.values() for one in problems}
    if for_teacher != {settings.template is not None}:
        raise ValueError(
            f"template={settings.template!r} does not fit the problems: give read_benchmarks "
            "template=settings.teacher_template."
        )


def _name(out: Path, settings: Settings) -> str:
    """Return the name in tables and pictures where none is given; it says that a teacher is one."""
    name = out.resolve().name
    return name if settings.template is None else f"{name}, as teacher ({settings.template})"


def _tasks(benchmarks: Benchmarks, settings: Settings) -> list[Task]:
    """Return every sample of the evaluation, in an order that mixes the benchmarks.

    So the lengths of the first answers say how long the others will be.
    """
    tasks = [
        Task(benchmark, problem, sample)
        for benchmark, problems in benchmarks.items()
        for problem in problems
        for sample in range(settings.samples_for(benchmark))
    ]
    return sorted(tasks, key=lambda task: settings.seed_for(*task.key))


def _run(drawing: Coroutine[Any, Any, None], log: SampleLog, tasks: Sequence[Task]) -> None:
    """Draw to the end; say how far the log got when that fails."""
    try:
        with interruptible():
            asyncio.run(drawing)
    except (KeyboardInterrupt, ConnectionError) as error:
        kept = f"{len(log.done)} of {len(tasks)} samples: run the same command again."
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted after {kept}") from None
        raise ConnectionError(f"{str(error).rstrip('.')}. It ended after {kept}") from error


def _identity(source: Source, benchmarks: Benchmarks, settings: Settings) -> dict[str, Any]:
    """Return everything that affects the answers: a run is resumed only if all of it is equal."""
    read = {} if settings.template is None else benchmarks
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
        "privileged": {benchmark: privileged_digest(problems) for benchmark, problems in read.items()},
        "versions": _versions(),
    }


def _versions() -> dict[str, Any]:
    return {
        "python": python_version(),
        # Not from the metadata: vLLM's CPU build has another distribution name.
        "vllm": quiet_vllm().__version__,
        **{name: version(name) for name in _PACKAGES},
    }
