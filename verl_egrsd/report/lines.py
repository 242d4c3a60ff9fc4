"""A step of training as two lines for people; all its metrics are in report.jsonl and with verl's loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verl_egrsd.report.headline import time_left
from verl_egrsd.report.health import VALIDATED
from verl_egrsd.report.history import Steps

OF_ANSWERS = {
    "egrsd/correct": "{:.1%} right",
    "egrsd/response_length/mean": "{:,.0f} tokens",
    "egrsd/truncated": "{:.1%} cut",
}
OF_UPDATE = {
    "egrsd/weight/mean": "mean weight {:.2f}",
    "actor/grad_norm": "gradient norm {:.3g}",
    "timing_s/step": "{:.1f} s",
}
"""Metrics of the two lines, and how they are written."""


def step_lines(run: Mapping[str, Any], steps: Steps, step: int, window: int) -> str:
    """Return the lines of a step: its answers and validations, then its update and the time that is left.

    Args:
        run: the facts known at the start, see :func:`verl_egrsd.report.run.describe_run`.
        steps: metrics by step.
        step: the step.
        window: number of steps over which the time of a step is averaged.
    """
    metrics = steps[step]
    answers = [form.format(metrics[name]) for name, form in OF_ANSWERS.items() if name in metrics]
    answers += [
        f"validation {name.removeprefix('val-core/').rsplit('/', 2)[0]} {value:.1%}"
        for name, value in metrics.items()
        if VALIDATED.fullmatch(name)
    ]
    update = [form.format(metrics[name]) for name, form in OF_UPDATE.items() if name in metrics]
    left = time_left(run, steps, window)
    update += [f"{left.partition(',')[0]} left"] if left else []
    place = f"step {step} of {run['total_steps']}" if step else "before training"
    lines = [f"verl_egrsd: {place}: {', '.join(answers)}", f"  {', '.join(update)}" if update else ""]
    return "\n".join(filter(None, lines))
