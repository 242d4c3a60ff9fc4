"""The whole miniature: build the model, train every arm, evaluate every run, write the page.

    python -m verl_egrsd.miniature.run [--quick] [--arms NAME ...] [--seeds N ...] [--out DIR]

What is finished is kept, so the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tqdm import tqdm

from verl_egrsd.evaluation.samples import SAMPLES
from verl_egrsd.evaluation.settings import PRESETS
from verl_egrsd.evaluation.summary import JSON_SUMMARY
from verl_egrsd.frontier.picture import draw
from verl_egrsd.miniature.arms import Arm, Run, find_arms
from verl_egrsd.miniature.page import page, points, results_table
from verl_egrsd.miniature.processes import Job, run_jobs
from verl_egrsd.miniature.results import Measured, measure
from verl_egrsd.rehearsal.build import BuildSettings, build
from verl_egrsd.report.run import STEPS_FILE
from verl_egrsd.visuals import render

MODEL = Path(".cache/rehearsal/miniature")
BUILD = BuildSettings(roles="miniature", steps=1500, train_rows=4096, validation_rows=2000)
TRAINING = {
    "VERL_PLATFORM": "cpu",
    "OMP_NUM_THREADS": "2",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "RAY_memory_monitor_refresh_ms": "0",
}
EVALUATION = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
EVALUATIONS_AT_ONCE = 2
MAX_NUM_SEQS = 128
PLAN_FILE, SECONDS_FILE = "plan.json", "seconds.json"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        seeds: trainings per arm.
        steps: updates per training.
        problems: held-out problems that every run answers.
        samples: answers per problem, of every run; the model that is not trained gives those of all seeds.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 30
    problems: int = 1500
    samples: int = 1


FULL, QUICK = Plan(), Plan(seeds=(0,), steps=8, problems=300)
TRAIN_LIMIT, EVAL_LIMIT = 3 * 3600, 600
"""Seconds after which a training of all arms, or one evaluation, is taken to hang."""


WARNING = "**One seed proves nothing: this shows that it runs.**"


class Miniature:
    """The folders of one measurement, and what is still to be done in them."""

    def __init__(self, out: Path, plan: Plan, arms: Sequence[Arm]) -> None:
        self.out, self.plan, self.arms = out, plan, arms
        self.runs = [Run(arm, seed) for seed in plan.seeds for arm in arms if arm.trained]

    def begin(self) -> None:
        """Build the model unless it is there.

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
        file.write_text(json.dumps(now))
        with self.seconds("build"):
            build(MODEL, BUILD)

    def checkpoint(self, run: Run) -> Path:
        """Folder of a run's last checkpoint."""
        return self.out / "runs" / run.name / f"global_step_{self.plan.steps}"

    def evaluation(self, name: str) -> Path:
        """Folder of an evaluation: of a run, or of the arm that is not trained, by its name."""
        return self.out / "evaluations" / name

    def train(self) -> None:
        """Train the runs that left no last checkpoint."""
        marks = {run: self.checkpoint(run) / "data.pt" for run in self.runs}
        names = [run.name for run, mark in marks.items() if not mark.exists()]
        if not names:
            return
        command = [sys.executable, "-m", "verl_egrsd.miniature.train", "--out", str(self.out / "runs")]
        command += ["--runs", *names, "--set", f"trainer.total_training_steps={self.plan.steps}"]
        total = self.plan.steps * len(self.runs)
        with self.seconds("train"), tqdm(total=total, desc="training", unit="step") as bar:
            run_jobs(
                [Job(command, self.out / "train.log")],
                at_once=1,
                environment=TRAINING,
                time_limit=TRAIN_LIMIT,
                done=lambda: sum(_lines(self.out / "runs" / run.name / STEPS_FILE) for run in self.runs),
                bar=bar,
            )

    def evaluate(self) -> None:
        """Evaluate what was not evaluated yet."""
        samples = self.plan.samples
        models = {run.name: (self.checkpoint(run), samples) for run in self.runs}
        untrained = [arm.name for arm in self.arms if not arm.trained]
        models |= {name: (MODEL / "model", samples * len(self.plan.seeds)) for name in untrained}
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
        """Return what was found of each arm."""
        found = {}
        for arm in self.arms:
            runs = [run for run in self.runs if run.arm is arm]
            names = [run.name for run in runs] or [arm.name]
            folders = [self.out / "runs" / run.name for run in runs]
            found[arm.name] = measure(arm, [self.evaluation(name) for name in names], folders)
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
            file.write_text(json.dumps(spent))


def write_page(miniature: Miniature) -> str:
    """Write index.md, frontier.png, frontier.svg and results.json; return the table."""
    arms, out = miniature.measured(), miniature.out
    figure = draw(points(arms), None, "The miniature frontier")
    for form in ("png", "svg"):
        (out / f"frontier.{form}").write_bytes(render(figure, form))
    (out / "index.md").write_text(page(arms, _facts(miniature)), encoding="utf-8")
    numbers = {
        name: {metric: found.interval(metric) for metric in found.pooled}
        | {"seeds": list(found.seeds), "training": dict(found.training)}
        for name, found in arms.items()
    }
    (out / "results.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return results_table(arms)


def _facts(miniature: Miniature) -> dict[str, Any]:
    """Return what the page tells besides the results."""
    plan, before = miniature.plan, json.loads((MODEL / "rehearsal.json").read_text())
    settings = next((miniature.out / "evaluations").glob("*/settings.json"))
    versions = json.loads(settings.read_text())["identity"]["versions"]
    reports = sorted((miniature.out / "runs").glob("*/report.json"))
    versions |= json.loads(reports[0].read_text())["versions"] if reports else {}
    seeds = f"{len(plan.seeds)} seeds" if len(plan.seeds) > 1 else "one seed"
    return {
        "about": (
            f"{len(miniature.arms)} arms, {seeds}, {plan.steps} updates of 32 rollouts each, in verl with "
            f"Ray, TransferQueue, FSDP2 and vLLM; {plan.problems:,} held-out problems."
            + (" " + WARNING if len(plan.seeds) == 1 else "")
        ),
        "how": {
            "model": f"{before['parameters']:,} parameters, {_in_short(before['before_training'])}",
            "sampling of the evaluation": asdict(PRESETS["rehearsal"]) | {"samples": plan.samples},
            "seeds": " ".join(map(str, plan.seeds)),
            "date": date.today().isoformat(),
            "machine": f"{os.cpu_count()} cores, {_processor()}",
            "versions": versions,
            "seconds": json.loads((miniature.out / SECONDS_FILE).read_text()),
            "one arm again": "`ARMS=egrsd SEEDS=0 OUT=somewhere bash recipes/mini_frontier.sh`",
        },
    }


def _in_short(before: dict[str, Any]) -> str:
    """Return what a sample of the untrained model gave, when it was built."""
    student, teacher, entropy = (before[name] for name in ("student", "teacher", "teacher_entropy"))
    return (
        f"untrained {100 * student['accuracy']:.0f} % at {student['length']:.0f} tokens as student and "
        f"{100 * teacher['accuracy']:.0f} % at {teacher['length']:.0f} as teacher ({before['problems']} "
        f"problems), teacher entropy {entropy['mean']:.2f} nat on average, {entropy['maximum']:.2f} at most"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 when the page is written, 1 when something failed, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m verl_egrsd.miniature.run")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: proves nothing")
    parser.add_argument("--arms", nargs="+", default=[], metavar="NAME", help="(all)")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="(those of the plan)")
    parser.add_argument("--out", type=Path, help="(outputs/mini_frontier or, quick, .._quick)")
    given = parser.parse_args(arguments)
    plan = QUICK if given.quick else FULL
    if given.seeds:
        plan = Plan(**asdict(plan) | {"seeds": tuple(given.seeds)})
    # Otherwise Python would end at once, and the processes that it started would go on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("mini_frontier: ended"))
    out = given.out or Path("outputs/mini_frontier_quick" if given.quick else "outputs/mini_frontier")
    try:
        miniature = Miniature(out, plan, find_arms(given.arms))
        miniature.begin()
        miniature.train()
        miniature.evaluate()
    except (ValueError, OSError, RuntimeError) as error:
        print(f"mini_frontier: {error}", file=sys.stderr)
        return 1
    print(write_page(miniature))
    print(f"page: {out / 'index.md'}, picture: {out / 'frontier.png'}, numbers: {out / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
