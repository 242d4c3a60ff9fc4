"""Plans, checkpoints and evaluations of a reproduction, as small as they can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipes.reproduce.plan import BASE, REHEARSAL, Plan
from tests.evaluation.builders import make_samples, write_evaluation
from verl_egrsd.evaluation.summary import write_summary

PAPER_BENCHMARKS = ("aime24", "aime25", "hmmt_feb_2025")
"""Benchmarks of 30 problems each."""


def make_plan_in(out: Path, **changes: Any) -> Plan:
    """A plan for GPUs with two arms; `changes` are its fields."""
    facts = {
        **{"model": "qwen3_4b", "weights": "Qwen/Qwen3-4B", "hardware": "gpu", "arms": ("grpo", "egrsd")},
        **{"seeds": (0,), "protocol": "paper", "steps": 4, "checkpoints": (), "problems": None},
        **{"source": "somewhere/data", "gpus": "8", "nodes": 1, "out": out},
    }
    if changes.get("hardware") == "cpu":
        facts |= {"weights": str(REHEARSAL / "model"), "protocol": "rehearsal"}
    return Plan(**facts | changes)


def write_results(plan: Plan, benchmarks: tuple[str, ...] = PAPER_BENCHMARKS) -> None:
    """Evaluations of the model before training and of each run: each later one is better."""
    for place, name in enumerate([BASE, *(name for run in plan.runs for name in run.evaluations())]):
        samples = [
            sample
            for benchmark in benchmarks
            for sample in make_samples(
                [[(1000 - 10 * place - i, i % 10 < 4 + place)] for i in range(30)], benchmark
            )
        ]
        folder = write_evaluation(plan.evaluation(name), samples, name=name, samples=1)
        write_summary(folder, replicates=200)
