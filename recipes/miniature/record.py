"""Write the results of a measurement, and how it was made, into its folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import date
from typing import Any

from recipes.machine import processor
from recipes.miniature.measurement import MODEL, SECONDS_FILE, Measurement
from recipes.miniature.page import page, points, results_table
from recipes.miniature.results import largest_engine_difference
from verl_egrsd.evaluation.settings import PRESETS
from verl_egrsd.evaluation.summary import JSON_SUMMARY
from verl_egrsd.frontier.picture import draw_frontier
from verl_egrsd.output.pictures import render

WARNING = "**One seed proves nothing: this shows that it runs.**"


def write_page(measurement: Measurement) -> str:
    """Write index.md, frontier.png, frontier.svg and results.json; return the table."""
    arms, out = measurement.measured(), measurement.out
    figure = draw_frontier(points(arms), None, "The miniature frontier")
    for form in ("png", "svg"):
        (out / f"frontier.{form}").write_bytes(render(figure, form))
    (out / "index.md").write_text(page(arms, _facts(measurement)), encoding="utf-8")
    numbers = {
        name: {metric: found.interval(metric)._asdict() for metric in found.pooled}
        | {"seeds": list(found.seeds), "training": dict(found.training)}
        for name, found in arms.items()
    }
    (out / "results.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return results_table(arms)


def _facts(measurement: Measurement) -> dict[str, Any]:
    """Return the facts that the page states beside the results."""
    plan, before = measurement.plan, json.loads((MODEL / "rehearsal.json").read_text())
    settings = next((measurement.out / "evaluations").glob("*/settings.json"))
    versions = json.loads(settings.read_text())["identity"]["versions"]
    reports = sorted((measurement.out / "runs").glob("*/report.json"))
    versions |= json.loads(reports[0].read_text())["versions"]
    difference = largest_engine_difference([report.parent for report in reports])
    engines = (
        "no run had rollouts"
        if difference is None
        else f"the probabilities of all sampled tokens differ by at most {difference:.0e}"
    )
    evaluated = sum((measurement.evaluation(run.name) / JSON_SUMMARY).exists() for run in measurement.runs)
    seeds = f"{len(plan.seeds)} seeds" if len(plan.seeds) > 1 else "one seed"
    return {
        "about": (
            f"{len(measurement.arms)} arms, {seeds}, {plan.steps} updates of 32 rollouts each, in verl with "
            f"Ray, TransferQueue, FSDP2 and vLLM; {plan.problems:,} held-out problems."
            + (" " + WARNING if len(plan.seeds) == 1 else "")
        ),
        "how": {
            "model": f"{before['parameters']:,} parameters, {_in_short(before['before_training'])}",
            "sampling of the evaluation": asdict(PRESETS["rehearsal"]) | {"samples": plan.samples},
            "seeds": " ".join(map(str, plan.seeds)),
            "runs": f"{evaluated} of {len(measurement.runs)}",
            "vLLM against the training engine": engines,
            "date": date.today().isoformat(),
            "machine": f"{os.cpu_count()} cores, {processor()}",
            "versions": versions,
            "seconds": json.loads((measurement.out / SECONDS_FILE).read_text()),
            "commits": ", ".join(measurement.commits()),
            "one arm again": "`ARMS=name SEEDS=0 OUT=outputs/again bash recipes/mini_frontier.sh`",
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
