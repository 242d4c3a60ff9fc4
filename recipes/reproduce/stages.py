"""The stages: the commands that each runs, and what says whether the result of a command is valid."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from recipes.cpu import CPU_EVALUATION
from recipes.processes import Job
from recipes.reproduce.plan import BASE, REHEARSAL, Plan, Trained
from recipes.reproduce.trainings import trained_steps, training, untrained
from recipes.reproduce.valid import (
    lines_of,
    no_benchmarks,
    no_data,
    no_evaluation,
    no_model,
    not_exported,
    older,
    summaries_of,
)
from verl_egrsd.evaluation.published import published_problems
from verl_egrsd.evaluation.samples import SAMPLES
from verl_egrsd.evaluation.summary import JSON_SUMMARY

EGRSD = (sys.executable, "-m", "verl_egrsd.cli")
DOWNLOAD = "import sys; from huggingface_hub import snapshot_download; snapshot_download(sys.argv[1])"
PAGE = "index.html"
Lacks = Callable[[], str | None]
"""Says why a result is not there or not valid; None when it is."""


@dataclass(frozen=True)
class Work:
    """One command of a stage.

    Attributes:
        name: of its log.
        command: what runs.
        lacks: whether it must run, and why.
        environment: variables on top of those of this process.
        done: counts the units of work that are done, for the bar.
        total: number of units.
        unit: what is counted.
        gpus: that are kept busy.
        stale: folder of a result that is no longer valid, which the command would refuse to replace.
    """

    name: str
    command: list[str]
    lacks: Lacks
    environment: dict[str, str] = field(default_factory=dict)
    done: Callable[[], int] = lambda: 0
    total: int = 1
    unit: str = "file"
    gpus: int = 0
    stale: Path | None = None

    def job(self, out: Path) -> Job:
        """Return the command with its log."""
        return Job(self.command, out / "logs" / f"{self.name}.log")


NEEDS = {
    "data": ("model", "benchmarks"),
    "train": ("model", "data"),
    "evaluate": ("model", "benchmarks", "train"),
    "compare": ("evaluate",),
    "export": ("train",),
}
"""The stages whose results a stage reads."""
STAGES: dict[str, Callable[[Plan], Iterator[Work]]] = {}
"""The stages by name, in their order."""


def stage(name: str) -> Callable[[Callable[[Plan], Iterator[Work]]], Callable[[Plan], Iterator[Work]]]:
    """Add a function that yields the works of a stage."""

    def add(works: Callable[[Plan], Iterator[Work]]) -> Callable[[Plan], Iterator[Work]]:
        STAGES[name] = works
        return works

    return add


@stage("model")
def _model(plan: Plan) -> Iterator[Work]:
    command = [sys.executable, "-c", DOWNLOAD, plan.weights]
    if plan.on_cpu:
        command = [sys.executable, "-m", "recipes.rehearsal.build", "--out", str(REHEARSAL)]
    yield Work("model", command, partial(no_model, plan))


@stage("benchmarks")
def _benchmarks(plan: Plan) -> Iterator[Work]:
    module = "recipes.reproduce.small" if plan.on_cpu else "data_prep.benchmarks"
    command = [sys.executable, "-m", module, "--out", str(plan.out / "benchmarks")]
    yield Work("benchmarks", command, partial(no_benchmarks, plan))


@stage("data")
def _data(plan: Plan) -> Iterator[Work]:
    options = ["--source", plan.source, "--out", str(plan.out / "data"), "--tokenizer", plan.weights]
    options += ["--benchmarks", str(plan.out / "benchmarks")]
    if plan.on_cpu:
        # All sums are alike, and only equal ones are the same problem.
        options += ["--student-thinks", "--duplicates", "exact", "--decontaminate", "exact"]
        options += ["--max-student-tokens", "128", "--max-teacher-tokens", "640"]
    command = [sys.executable, "-m", "data_prep.openthoughts", *options]
    yield Work("data", command, partial(no_data, plan))


@stage("train")
def _train(plan: Plan) -> Iterator[Work]:
    for arm in plan.arms:
        # What the last arm would fail on shows before the first one is trained.
        runs = [run for run in plan.runs if run.arm == arm]
        command, environment = training(runs[0], check=True)
        yield Work(f"check-{arm}", command, partial(_any_untrained, runs), environment)
    for run in plan.runs:
        command, environment = training(run)
        steps = partial(trained_steps, run)
        lacks, gpus = partial(untrained, run), plan.gpus_of(run.arm)
        yield Work(f"train-{run.name}", command, lacks, environment, steps, plan.steps, "step", gpus)


@stage("evaluate")
def _evaluate(plan: Plan) -> Iterator[Work]:
    for name, model in evaluated(plan).items():
        command = [*EGRSD, "eval", str(model), "--benchmarks", str(plan.out / "benchmarks"), "--name", name]
        command += ["--preset", plan.protocol, "--out", str(plan.evaluation(name))]
        command += ["--limit", str(plan.problems)] if plan.problems else []
        replicas = int(plan.gpus) * (plan.nodes if os.environ.get("RAY_ADDRESS") else 1)
        on_cpu = ["--enforce-eager", "--gpu-memory-utilization", "0.1"]
        command += on_cpu if plan.on_cpu else ["--replicas", str(replicas)]
        samples, lacks = plan.evaluation(name) / SAMPLES, partial(no_evaluation, plan, name, model)
        environment = CPU_EVALUATION if plan.on_cpu else {}
        done = partial(lines_of, samples)
        yield Work(f"evaluate-{name}", command, lacks, environment, done, 0, "sample", replicas)


@stage("compare")
def _compare(plan: Plan) -> Iterator[Work]:
    for run in plan.runs:
        folders = [plan.evaluation(name) for name in (run.name, BASE)]
        found = plan.out / "comparisons" / f"{run.name}.json"
        command = [*EGRSD, "compare", *map(str, folders), "--json", str(found)]
        whole = (plan.problems or math.inf) >= min(published_problems().values())
        command += ["--published", plan.model] if whole and not plan.on_cpu else []
        newer = [folder / JSON_SUMMARY for folder in folders]
        yield Work(f"compare-{run.name}", command, partial(older, found, newer))


@stage("export")
def _export(plan: Plan) -> Iterator[Work]:
    for run in plan.runs:
        command = [*EGRSD, "export", str(run.checkpoint(plan.steps)), "--out", str(run.exported)]
        command += ["--form", "adapter"]
        command += ["--evaluation", str(plan.evaluation(run.name))] if summaries_of(run) else []
        yield Work(f"export-{run.name}", command, partial(not_exported, run), stale=run.exported)


@stage("page")
def _page(plan: Plan) -> Iterator[Work]:
    command = [sys.executable, "-m", "recipes.reproduce.page", "--out", str(plan.out)]
    # It is made in seconds, and shows what has been spent until now.
    yield Work("page", command, lambda: f"{plan.out / PAGE} is written each time")


def evaluated(plan: Plan) -> dict[str, str | Path]:
    """Return the models that are evaluated, by the name of the evaluation."""
    trained = {name: run.checkpoint(step) for run in plan.runs for name, step in run.evaluations().items()}
    return {BASE: plan.weights, **trained}


def _any_untrained(runs: list[Trained]) -> str | None:
    return next(filter(None, map(untrained, runs)), None)
