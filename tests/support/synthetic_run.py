"""Rollouts with made-up numbers, credited by the real code: any length, no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verl_egrsd.methods import resolve
from verl_egrsd.microscope.rollout import Rollout, Run, credited

WORDS = (
    " the",
    " sum",
    " of",
    " wait",
    ",",
    " 7",
    "+",
    "5",
    "=",
    "12",
    " so",
    " we",
    " get",
    " maybe",
    ".\n",
)


def synthetic_run(
    tokens: Sequence[Sequence[str]],
    *,
    name: str = "synthetic",
    seed: int = 0,
    window: int = 3,
    gamma: float = 1.0,
) -> Run:
    """A run with one rollout per list of tokens: mostly confident, with uncertain stretches."""
    draw = np.random.default_rng(seed)
    batch = []
    for i, texts in enumerate(tokens):
        entropy = draw.gamma(0.4, 0.8, len(texts)).astype(np.float32)
        student = -draw.gamma(0.5, 0.5, len(texts)).astype(np.float32)
        teacher = np.minimum(student + 0.3 * entropy * draw.normal(size=len(texts)), 0).astype(np.float32)
        batch.append(
            Rollout(
                name=f"row {i}",
                problem=f"problem {i}",
                student_prompt=f"student's prompt {i}",
                teacher_prompt=f"teacher's prompt {i}",
                ground_truth="12",
                verdict=("correct", "wrong")[i % 2],
                reward=(1.2, 0.0)[i % 2],
                truncated=False,
                tokens=tuple(texts),
                arrays={
                    "student_log_prob": student,
                    "teacher_log_prob": teacher,
                    "teacher_entropy": entropy,
                    "advantage": np.full(len(texts), (0.7, -0.5)[i % 2], np.float32),
                },
            )
        )
    method = resolve("grpo", {"gamma": gamma, "window": window}, max_response_length=10_000)
    rollouts, metrics = credited(batch, method)
    return Run(name, method, {"rollouts from": "a random generator"}, rollouts, metrics)


def words(count: int, seed: int = 0) -> list[str]:
    """That many tokens of nonsense, with a line break now and then."""
    return np.random.default_rng(seed).choice(np.array(WORDS), count).tolist()
