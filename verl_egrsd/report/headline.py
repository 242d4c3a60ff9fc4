"""The head of a report: which run this is, what it has reached, and what its numbers are worth.

Accuracies have 95 % intervals by Wilson (1927), over problems: several answers to one problem are alike, so
they count as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from verl_egrsd.output.intervals import wilson
from verl_egrsd.report.health import CORRECT, VALIDATED
from verl_egrsd.report.history import Steps, metric_names, training_steps

MEAN_LENGTH, STEP_SECONDS = "egrsd/response_length/mean", "timing_s/step"
Lines = list[tuple[str, str]]
"""Label and text of each line."""


def headline(run: Mapping[str, Any], steps: Steps, window: int) -> Lines:
    """Return the lines of the head; those that the run cannot fill are left out.

    Args:
        run: the facts known at the start, see :func:`verl_egrsd.report.run.describe_run`.
        steps: metrics by step.
        window: number of steps at the start and at the end over which training is averaged.
    """
    settings = run["settings"]
    lines = {
        "method": _method(settings),
        "model": _found(settings, "actor_rollout_ref.model.path") or _found(settings, "model.path"),
        "data": ", ".join(Path(file["file"]).name for file in run["data"].get("training", ())),
        "learning rate": _found(settings, "actor_rollout_ref.actor.optim.lr") or _found(settings, "optim.lr"),
        "GPUs": _gpus(settings),
        "accuracy in training": _training_accuracy(run, steps, window),
        **_validations(run, steps),
        "length of answers": _length(steps, window),
        "time left": time_left(run, steps, window),
        "best checkpoint": _best_checkpoint(settings, steps),
    }
    return [(label, text) for label, text in lines.items() if text]


def validation_accuracy(run: Mapping[str, Any], name: str, value: float) -> str:
    """Return the accuracy of a validation in percent, with its interval where the problems are known.

    Args:
        run: the facts known at the start.
        name: verl's name of the metric.
        value: share of right answers.
    """
    source = name.removeprefix("val-core/").rsplit("/", 2)[0]
    return _percent(value, run.get("validated", {}).get(source, 0))


def time_left(run: Mapping[str, Any], steps: Steps, window: int) -> str:
    """Return how long the steps to come take at the mean of the last ones; "" where that is not known."""
    trained = max(steps, default=0)
    seconds = [metrics[STEP_SECONDS] for metrics in steps.values() if STEP_SECONDS in metrics][-window:]
    if not seconds or trained >= run["total_steps"]:
        return ""
    left = fmean(seconds) * (run["total_steps"] - trained)
    return f"about {duration(left)}, at {duration(fmean(seconds))} a step"


def duration(seconds: float) -> str:
    """Return a duration as hours and minutes, or as seconds below a minute."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _method(settings: Mapping[str, Any]) -> str:
    name = _found(settings, "algorithm.adv_estimator")
    gamma = _found(settings, "algorithm.egrsd.gamma")
    return f"{name}, gamma {gamma}" if name and gamma else name


def _gpus(settings: Mapping[str, Any]) -> str:
    nodes, each = _found(settings, "trainer.nnodes"), _found(settings, "trainer.n_gpus_per_node")
    if not nodes or not each:
        return ""
    return each if nodes == "1" else f"{int(nodes) * int(each)} ({nodes} nodes of {each})"


def _training_accuracy(run: Mapping[str, Any], steps: Steps, window: int) -> str:
    shares = [metrics[CORRECT] for metrics in training_steps(steps) if CORRECT in metrics]
    batch = _found(run["settings"], "data.train_batch_size")
    if not shares:
        return ""
    covered = max(1, min(window, len(shares) // 2))
    problems = int(batch or 0) * covered
    start, now = _percent(fmean(shares[:covered]), problems), _percent(fmean(shares[-covered:]), problems)
    return _against(now, start) if len(shares) > 1 else now


def _validations(run: Mapping[str, Any], steps: Steps) -> dict[str, str]:
    lines = {}
    for name in filter(VALIDATED.fullmatch, metric_names(steps.values())):
        values = [metrics[name] for metrics in steps.values() if name in metrics]
        start, now = (validation_accuracy(run, name, value) for value in (values[0], values[-1]))
        label = f"accuracy on {name.removeprefix('val-core/').rsplit('/', 2)[0]}"
        lines[label] = _against(now, start) if len(values) > 1 else now
    return lines


def _length(steps: Steps, window: int) -> str:
    lengths = [metrics[MEAN_LENGTH] for metrics in training_steps(steps) if MEAN_LENGTH in metrics]
    if not lengths:
        return ""
    covered = max(1, min(window, len(lengths) // 2))
    now = f"{fmean(lengths[-covered:]):,.0f} tokens"
    return _against(now, f"{fmean(lengths[:covered]):,.0f}") if len(lengths) > 1 else now


def _best_checkpoint(settings: Mapping[str, Any], steps: Steps) -> str:
    """Return the checkpoint with the highest mean accuracy in validation, of those that are there."""
    folder = _found(settings, "trainer.default_local_dir")
    validations = [*filter(VALIDATED.fullmatch, metric_names(steps.values()))]
    scored = {
        step: fmean(shares)
        for step, metrics in steps.items()
        if (shares := [metrics[name] for name in validations if name in metrics])
        and (Path(folder) / f"global_step_{step}").is_dir()
    }
    if not folder or not scored:
        return ""
    best = max(scored, key=lambda step: (scored[step], step))
    return f"{Path(folder) / f'global_step_{best}'} ({100 * scored[best]:.1f} % in validation)"


def _found(settings: Mapping[str, Any], key: str) -> str:
    """Return a setting as text, "" where the run has none."""
    node: Any = settings
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return "" if node is None else str(node)


def _percent(share: float, problems: int) -> str:
    if not problems or not 0 <= share <= 1:  # a reward function may call anything an accuracy
        return f"{100 * share:.1f} %"
    found = wilson(share, problems).scaled(100)
    return f"{found.value:.1f} % [{found.low:.1f}, {found.high:.1f}]"


def _against(now: str, start: str) -> str:
    return f"{now}, against {start} at the start"
