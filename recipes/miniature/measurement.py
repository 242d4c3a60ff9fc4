"""One measurement in a folder: its trainings and evaluations, and which of them are still missing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recipes.cpu import CPU_EVALUATION, CPU_TRAINING
from recipes.machine import processor
from recipes.miniature.arms import SUPERVISED, UNTRAINED, Arm, Run
from recipes.miniature.kept import KeptRun, keep_run, read_kept_run, write_kept_run
from recipes.miniature.results import Measured, measure
from recipes.miniature.trainings import MINIATURE, training_jobs
from recipes.processes import Job, run_jobs
from recipes.rehearsal.build import BuildSettings, build
from verl_egrsd.checkpoints.whole import Needed, damage
from verl_egrsd.evaluation.samples import SAMPLES, SETTINGS
from verl_egrsd.evaluation.summary import JSON_SUMMARY
from verl_egrsd.output.files import write_completed
from verl_egrsd.report.run import JSON_FILE, STEPS_FILE

MODEL = MINIATURE
BUILD = BuildSettings(roles="miniature", steps=1500, train_rows=4096, validation_rows=2000)
TRAINING, EVALUATION = dict(CPU_TRAINING), CPU_EVALUATION
EVALUATIONS_AT_ONCE = 2
MAX_NUM_SEQS = 128
KEPT, COMMITS = "kept", "commits"
"""Folders of what is kept of each run, and of the commit at which its training began."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        seeds: trainings per arm.
        steps: updates per training.
        problems: held-out problems that every run answers.
        samples: answers per problem and run; the untrained model gives as many as all seeds together.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 40
    problems: int = 1500
    samples: int = 1


FULL, QUICK = Plan(), Plan(seeds=(0,), steps=4, problems=200)
RUNS_PER_PART = 12
"""Runs that are trained on one start and evaluated before the next ones: under an hour on two cores."""
TRAIN_LIMIT, EVAL_LIMIT = 2 * 3600, 1800
"""Seconds after which the trainings of a part, or one evaluation, are taken to hang."""


class Measurement:
    """The folders of one measurement; trains and evaluates what is missing in them."""

    def __init__(self, out: Path, plan: Plan, arms: Sequence[Arm]) -> None:
        self.out, self.plan, self.arms = out, plan, arms
        self.runs = [Run(arm, seed) for seed in plan.seeds for arm in arms if arm.trained]

    def begin(self) -> None:
        """Build the model unless it exists, and read what is kept of earlier parts.

        Raises:
            ValueError: when a run in the folder belongs to a measurement with other settings.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        build(MODEL, BUILD)
        self.kept()

    @cached_property
    def common(self) -> dict[str, Any]:
        """What all runs of the page have in common; `start` is the digest of the weights they begin with."""
        weights = (MODEL / "model" / "model.safetensors").read_bytes()
        numbers = {key: getattr(self.plan, key) for key in ("steps", "problems", "samples")}
        return numbers | {"start": hashlib.sha256(weights).hexdigest()}

    def kept_file(self, name: str) -> Path:
        """Path of what is kept of a run, or of `untrained`."""
        return self.out / KEPT / f"{name}.json"

    def kept(self) -> dict[str, KeptRun]:
        """Return what is kept of each run of these arms and seeds, by its name."""
        names = [run.name for run in self.runs]
        names += [self.untrained for arm in self.arms if not arm.trained]
        files = {name: self.kept_file(name) for name in names}
        return {name: read_kept_run(file, self.common) for name, file in files.items() if file.exists()}

    def checkpoint(self, run: Run) -> Path:
        """Folder of a run's last checkpoint."""
        return self.out / "runs" / run.name / f"global_step_{self.plan.steps}"

    def evaluation(self, name: str) -> Path:
        """Folder of an evaluation: of a run by its name, or `untrained`."""
        return self.out / "evaluations" / name

    @property
    def untrained(self) -> str:
        """Name of the evaluation of the model before training; with more seeds it is another one."""
        return f"{UNTRAINED}-x{self.plan.samples * len(self.plan.seeds)}"

    def parts(self) -> list[list[Run]]:
        """Return the runs in the order in which they are measured; those of a part need the same start."""
        starts = dict.fromkeys(run.arm.start for run in self.runs)
        by_start = [[run for run in self.runs if run.arm.start == start] for start in starts]
        return [
            runs[begin : begin + RUNS_PER_PART]
            for runs in by_start
            for begin in range(0, len(runs), RUNS_PER_PART)
        ]

    def train(self, part: Sequence[Run]) -> None:
        """Train the runs of a part that are not kept and have no last checkpoint, or one that was cut off."""
        missing = [
            run
            for run in part
            if not self.kept_file(run.name).exists() and damage(self.checkpoint(run), _needed(run))
        ]
        if not missing:
            return
        (self.out / COMMITS).mkdir(exist_ok=True)
        for run in missing:
            write_completed(self.out / COMMITS / run.name, _commit())
        total = self.plan.steps * len(part)
        with tqdm(total=total, desc="training", unit="step") as bar:
            run_jobs(
                training_jobs(missing, self.out, self.plan.steps),
                at_once=1,
                environment=TRAINING,
                time_limit=TRAIN_LIMIT,
                done=lambda: sum(_lines(self.out / "runs" / run.name / STEPS_FILE) for run in part),
                bar=bar,
            )

    def evaluate(self, part: Sequence[Run]) -> None:
        """Evaluate the runs of a part, and the untrained model, that are not kept; keep them."""
        samples = self.plan.samples
        models = {run.name: (self.checkpoint(run), samples) for run in part}
        if not all(arm.trained for arm in self.arms):
            models[self.untrained] = MODEL / "model", samples * len(self.plan.seeds)
        models = {name: model for name, model in models.items() if not self.kept_file(name).exists()}
        jobs = [
            Job(self.eval_command(name, *model), self.out / "logs" / f"{name}.log")
            for name, model in models.items()
            if not (self.evaluation(name) / JSON_SUMMARY).exists()
        ]
        total = self.plan.problems * sum(answers for _, answers in models.values())
        with tqdm(total=total, desc="evaluation", unit="sample") as bar:
            run_jobs(
                jobs,
                at_once=EVALUATIONS_AT_ONCE,
                environment=EVALUATION,
                time_limit=EVAL_LIMIT,
                done=lambda: sum(_lines(self.evaluation(name) / SAMPLES) for name in models),
                bar=bar,
            )
        for name in models:
            training = None if name == self.untrained else self.out / "runs" / name
            commit = _commit() if training is None else (self.out / COMMITS / name).read_text()
            made = {"commit": commit, **_made(self.evaluation(name), training)}
            found = keep_run(self.evaluation(name), training, made=made, plan=self.common)
            write_kept_run(self.kept_file(name), found)

    def eval_command(self, name: str, model: Path, samples: int) -> list[str]:
        """Return the command that evaluates a model."""
        command = [sys.executable, "-m", "verl_egrsd.cli", "eval", str(model)]
        command += ["--benchmarks", str(MODEL / "data" / "validation.parquet"), "--preset", "rehearsal"]
        command += ["--limit", str(self.plan.problems), "--samples", str(samples)]
        command += ["--max-num-seqs", str(MAX_NUM_SEQS), "--enforce-eager"]
        return [*command, "--out", str(self.evaluation(name))]

    def measured(self) -> dict[str, Measured]:
        """Return the results of each arm that has any, over the seeds that are kept."""
        kept, found = self.kept(), {}
        for arm in self.arms:
            names = [run.name for run in self.runs if run.arm is arm] if arm.trained else [self.untrained]
            runs = [kept[name] for name in names if name in kept]
            if runs:
                found[arm.name] = measure(arm, runs)
        return found


def _needed(run: Run) -> Needed:
    return Needed(supervised=run.arm.start == SUPERVISED)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _made(evaluation: Path, training: Path | None) -> dict[str, Any]:
    """Return when, where and with what a run was evaluated and trained."""
    versions = json.loads((evaluation / SETTINGS).read_text())["identity"]["versions"]
    if training is not None:
        versions |= json.loads((training / JSON_FILE).read_text())["versions"]
    machine = f"{os.cpu_count()} cores, {processor()}"
    return {"date": date.today().isoformat(), "machine": machine, "versions": versions}


def _commit() -> str:
    """Return the commit of the checkout, with a plus when files were changed; "none" outside of one."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "none"
