"""One measurement in a folder: its trainings and evaluations, and which of them are still missing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from recipes.cpu import CPU_EVALUATION, CPU_TRAINING
from recipes.miniature.arms import SUPERVISED, UNTRAINED, Arm, Run
from recipes.miniature.results import Measured, measure
from recipes.miniature.trainings import MINIATURE, training_jobs
from recipes.processes import Job, run_jobs
from recipes.rehearsal.build import BuildSettings, build
from verl_egrsd.checkpoints.whole import Needed, damage
from verl_egrsd.evaluation.samples import SAMPLES
from verl_egrsd.evaluation.summary import JSON_SUMMARY
from verl_egrsd.output.files import write_completed
from verl_egrsd.report.run import STEPS_FILE

MODEL = MINIATURE
BUILD = BuildSettings(roles="miniature", steps=1500, train_rows=4096, validation_rows=2000)
TRAINING, EVALUATION = dict(CPU_TRAINING), CPU_EVALUATION
EVALUATIONS_AT_ONCE = 2
MAX_NUM_SEQS = 128
PLAN_FILE, SECONDS_FILE, COMMITS_FILE = "plan.json", "seconds.json", "commits.json"


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
RUNS_PER_PART = 24
"""Runs that are trained on one start and evaluated before the next ones: under two hours on two cores."""
TRAIN_LIMIT, EVAL_LIMIT = 2 * 3600, 600
"""Seconds after which the trainings of a part, or one evaluation, are taken to hang."""


class Measurement:
    """The folders of one measurement; trains and evaluates what is missing in them."""

    def __init__(self, out: Path, plan: Plan, arms: Sequence[Arm]) -> None:
        self.out, self.plan, self.arms = out, plan, arms
        self.runs = [Run(arm, seed) for seed in plan.seeds for arm in arms if arm.trained]

    def begin(self) -> None:
        """Record the commit, and build the model unless it exists.

        Raises:
            ValueError: when the folder holds a measurement with other settings.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        now = {key: getattr(self.plan, key) for key in ("steps", "problems", "samples")}
        now |= {"build": json.loads(json.dumps(asdict(BUILD)))}
        file = self.out / PLAN_FILE
        then = json.loads(file.read_text()) if file.exists() else now
        if then != now:
            raise ValueError(
                f"{self.out} holds a measurement with other settings ({then}): remove it, or choose another "
                "folder (OUT)."
            )
        write_completed(file, json.dumps(now))
        commits = list(dict.fromkeys([*self.commits(), _commit()]))
        write_completed(self.out / COMMITS_FILE, json.dumps(commits))
        with self.seconds("build"):
            build(MODEL, BUILD)

    def commits(self) -> list[str]:
        """Commits of the checkout at which parts of the measurement began, oldest first."""
        file = self.out / COMMITS_FILE
        return json.loads(file.read_text()) if file.exists() else []

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
        """Train the runs of a part that have no last checkpoint, or one that was cut off."""
        missing = [run for run in part if damage(self.checkpoint(run), _needed(run))]
        if not missing:
            return
        total = self.plan.steps * len(part)
        with self.seconds("train"), tqdm(total=total, desc="training", unit="step") as bar:
            run_jobs(
                training_jobs(missing, self.out, self.plan.steps),
                at_once=1,
                environment=TRAINING,
                time_limit=TRAIN_LIMIT,
                done=lambda: sum(_lines(self.out / "runs" / run.name / STEPS_FILE) for run in part),
                bar=bar,
            )

    def evaluate(self, part: Sequence[Run]) -> None:
        """Run the evaluations of a part, and of the untrained model, that are missing."""
        samples = self.plan.samples
        models = {run.name: (self.checkpoint(run), samples) for run in part}
        if not all(arm.trained for arm in self.arms):
            models[self.untrained] = MODEL / "model", samples * len(self.plan.seeds)
        jobs = [
            Job(self.eval_command(name, *model), self.out / "logs" / f"{name}.log")
            for name, model in models.items()
            if not (self.evaluation(name) / JSON_SUMMARY).exists()
        ]
        total = self.plan.problems * sum(answers for _, answers in models.values())
        with self.seconds("evaluate"), tqdm(total=total, desc="evaluation", unit="sample") as bar:
            run_jobs(
                jobs,
                at_once=EVALUATIONS_AT_ONCE,
                environment=EVALUATION,
                time_limit=EVAL_LIMIT,
                done=lambda: sum(_lines(self.evaluation(name) / SAMPLES) for name in models),
                bar=bar,
            )

    def eval_command(self, name: str, model: Path, samples: int) -> list[str]:
        """Return the command that evaluates a model."""
        command = [sys.executable, "-m", "verl_egrsd.cli", "eval", str(model)]
        command += ["--benchmarks", str(MODEL / "data" / "validation.parquet"), "--preset", "rehearsal"]
        command += ["--limit", str(self.plan.problems), "--samples", str(samples)]
        command += ["--max-num-seqs", str(MAX_NUM_SEQS), "--enforce-eager"]
        return [*command, "--out", str(self.evaluation(name))]

    def measured(self) -> dict[str, Measured]:
        """Return the results of each arm that has any, over the seeds that have been evaluated."""
        found = {}
        for arm in self.arms:
            names = [run.name for run in self.runs if run.arm is arm] if arm.trained else [self.untrained]
            done = [name for name in names if (self.evaluation(name) / JSON_SUMMARY).exists()]
            folders = [self.out / "runs" / name for name in done if arm.trained]
            if done:
                found[arm.name] = measure(arm, [self.evaluation(name) for name in done], folders)
        return found

    @contextmanager
    def seconds(self, stage: str) -> Iterator[None]:
        """Add to the seconds that a stage took, over all parts of an interrupted measurement."""
        file, begin = self.out / SECONDS_FILE, time.monotonic()
        try:
            yield
        finally:
            spent = json.loads(file.read_text()) if file.exists() else {}
            spent[stage] = round(spent.get(stage, 0) + time.monotonic() - begin)
            write_completed(file, json.dumps(spent))


def _needed(run: Run) -> Needed:
    return Needed(supervised=run.arm.start == SUPERVISED)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _commit() -> str:
    """Return the commit of the checkout, with a plus when files were changed; "none" outside of one."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "none"
