"""Write the results of a measurement, and how it was made, into its folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import yaml

from recipes.miniature.measurement import MODEL, Measurement
from recipes.miniature.page import page, pictures, results_table
from recipes.miniature.results import Measured
from verl_egrsd.evaluation.settings import PRESETS
from verl_egrsd.frontier.picture import draw_frontier
from verl_egrsd.output.files import write_completed
from verl_egrsd.output.pictures import render
from verl_egrsd.output.tables import verbatim_markdown

ONE_SEED = "**One seed: how much seeds differ is not known.**"
FEWER_SEEDS = "**Arms whose row lists one seed have one: how much seeds differ is not known of them.**"


def write_page(measurement: Measurement) -> str:
    """Write index.md, its pictures as PNG and SVG, and results.json; return the table."""
    arms, out = measurement.measured(), measurement.out
    for drawn in pictures(arms):
        figure = draw_frontier(drawn.points, None, drawn.title)
        for form in ("png", "svg"):
            write_completed(out / f"{drawn.file}.{form}", render(figure, form))
    write_completed(out / "index.md", page(arms, _facts(measurement, arms)))
    numbers = {
        name: {metric: found.interval(metric)._asdict() for metric in found.pooled}
        | {"seeds": list(found.seeds), "training": dict(found.training)}
        for name, found in arms.items()
    }
    write_completed(out / "results.json", json.dumps(numbers, indent=1) + "\n")
    return results_table(arms)


def _facts(measurement: Measurement, arms: Mapping[str, Measured]) -> dict[str, Any]:
    """Return the facts that the page states beside the results."""
    plan, before = measurement.plan, json.loads((MODEL / "rehearsal.json").read_text())
    kept = measurement.kept()
    runs = [kept[run.name] for run in measurement.runs if run.name in kept]
    difference = max((run.engines for run in runs if run.engines is not None), default=None)
    engines = (
        "no run had rollouts"
        if difference is None
        else f"the probabilities of all sampled tokens differ by at most {difference:.0e}"
    )
    fewest = min(Counter(run.arm.name for run in measurement.runs if run.name in kept).values(), default=1)
    most = len(plan.seeds)
    seeds = "one seed" if most == 1 else f"{most} seeds" if fewest == most else f"up to {most} seeds"
    warning = "" if fewest > 1 else " " + (ONE_SEED if most == 1 else FEWER_SEEDS)
    made = [run.made for run in kept.values()]
    return {
        "about": (
            f"{len(arms)} arms, {seeds}, {plan.steps} updates of 32 rollouts each, in verl with "
            f"Ray, TransferQueue, FSDP2 and vLLM; {plan.problems:,} held-out problems." + warning
        ),
        "how": {
            "model": f"{before['parameters']:,} parameters, {_in_short(before['before_training'])}",
            "training": f"all weights, learning rate {_learning_rate()} where the arm names no other",
            "sampling of the evaluation": _sampling() | {"samples": plan.samples},
            "seeds": " ".join(map(str, plan.seeds)),
            "runs": f"{len(runs)} of {len(measurement.runs)}",
            "vLLM against the training engine": engines,
            "minutes in training steps": f"{sum(run.step_seconds for run in runs) / 60:.0f}",
            **{
                key: verbatim_markdown(_counted([run[key] for run in made]))
                for key in ("date", "machine", "commit")
            },
            "versions": verbatim_markdown(_versions([run["versions"] for run in made])),
            "one arm again": "`ARMS=name SEEDS=0 OUT=outputs/again bash recipes/mini_frontier.sh`",
        },
    }


def _learning_rate() -> float:
    settings = yaml.safe_load((files("verl_egrsd.configs") / "model" / "miniature.yaml").read_text())
    return float(settings["actor_rollout_ref"]["actor"]["optim"]["lr"])


def _counted(values: Sequence[str]) -> str:
    """Return the different values with the number of runs that have each; a single one by itself."""
    counts = Counter(values)
    if len(counts) == 1:
        return values[0]
    return "; ".join(f"{value} (in {count})" for value, count in sorted(counts.items()))


def _versions(made: Sequence[Mapping[str, str]]) -> str:
    names = sorted({name for versions in made for name in versions}, key=str.lower)
    return ", ".join(f"{name} {_counted([run[name] for run in made if name in run])}" for name in names)


def _in_short(before: dict[str, Any]) -> str:
    """Return what a sample of the untrained model gave, when it was built."""
    student, teacher, entropy = (before[name] for name in ("student", "teacher", "teacher_entropy"))
    return (
        f"untrained {100 * student['accuracy']:.0f} % at {student['length']:.0f} tokens as student and "
        f"{100 * teacher['accuracy']:.0f} % at {teacher['length']:.0f} as teacher ({before['problems']} "
        f"problems), teacher entropy {entropy['mean']:.2f} nat on average, {entropy['maximum']:.2f} at most"
    )


def _sampling() -> dict[str, Any]:
    """Return the settings of the evaluations, which answer the student's prompt."""
    return {key: value for key, value in asdict(PRESETS["rehearsal"]).items() if value is not None}
