"""The final page: the paper's table beside ours, paired differences, the frontier, the runs, what was spent.

python -m recipes.reproduce.page --out DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recipes.reproduce.plan import BASE, Plan, Trained, read_plan
from recipes.reproduce.results import ArmResult, comparisons, read_results, versions
from recipes.reproduce.spent import read_spent
from recipes.reproduce.stages import PAGE
from recipes.reproduce.trainings import trained_steps
from verl_egrsd.evaluation.compare import Comparison, points, signed_tokens
from verl_egrsd.evaluation.published import beside_published, published_problems, table_cell
from verl_egrsd.evaluation.summary import AVERAGE, percent, whole
from verl_egrsd.frontier.picture import draw_frontier
from verl_egrsd.frontier.published import published_points
from verl_egrsd.output.files import write_completed
from verl_egrsd.output.intervals import Interval
from verl_egrsd.output.pages import fill
from verl_egrsd.output.pictures import inline, render


def write_final_page(plan: Plan) -> None:
    """Write the page, with what has been measured by now.

    Raises:
        ValueError: when nothing has been evaluated yet.
    """
    results = read_results(plan)
    if not results:
        raise ValueError(f"{plan.out} holds no evaluation yet: run the stage evaluate first.")
    comparable = not plan.on_cpu and bool(published_problems().items() & results[0].problems.items())
    beside = beside_published([found.summary() for found in results], plan.model) if comparable else None
    grey = published_points(plan.model) if results[0].problems == published_problems() else None
    figure = draw_frontier([found.point() for found in results], grey, "Accuracy and length, average")
    page = fill(
        "recipes.reproduce",
        "page.html.jinja",
        plan=plan,
        columns=[*results[0].problems, AVERAGE, "tokens"],
        problems=results[0].problems,
        rows=[*(row for found in results for row in _rows(found, beside)), *_others(results, beside)],
        beside=beside,
        seeds={found.title: _seeds(found) for found in results if found.seeds},
        differences=[_difference(found) for found in comparisons(results)],
        picture=inline(render(figure, "svg")),
        runs=[_run(plan, run) for run in plan.runs],
        base=_link(plan, plan.evaluation(BASE) / "summary.md"),
        card=_link(plan, plan.out / "data" / "data_card.md"),
        spent=_spent(plan),
        versions=versions(plan),
        settings=results[0].settings,
    )
    write_completed(plan.out / PAGE, page)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page of a folder."""
    parser = argparse.ArgumentParser(prog="python -m recipes.reproduce.page")
    parser.add_argument("--out", required=True, type=Path)
    write_final_page(read_plan(parser.parse_args(arguments).out))


def _rows(found: ArmResult, beside: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the measured row of an arm and, where there is one, the published row."""
    summary = found.summary()
    measured = [summary["benchmarks"][name]["avg"] for name in found.problems]
    cells = [Interval(**metric).text(percent) for metric in [*measured, summary[AVERAGE]["avg"]]]
    cells.append(Interval(**summary[AVERAGE]["length"]).text(whole))
    rows = [{"title": found.title, "kind": "measured", "cells": cells}]
    if beside is not None and found.method is not None:
        rows.append(_published(found.title, found.method, beside))
    return rows


def _others(results: Sequence[ArmResult], beside: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the published rows of the methods that were not measured."""
    if beside is None:
        return []
    methods = dict.fromkeys(method for row in beside["rows"] for method in row["published"])
    missing = [method for method in methods if method not in {found.method for found in results}]
    return [_published(method, method, beside) for method in missing]


def _published(title: str, method: str, beside: Mapping[str, Any]) -> dict[str, Any]:
    cells = [table_cell(row, row["published"].get(method)) for row in beside["rows"]]
    return {"title": title, "kind": "published", "cells": cells}


def _seeds(found: ArmResult) -> str:
    return ", ".join(f"seed {seed}: {percent(accuracy)}" for seed, accuracy in found.seeds.items())


def _difference(found: Comparison) -> dict[str, Any]:
    each = [*found["benchmarks"].values(), found[AVERAGE]]
    accuracy = [Interval(**row["accuracy"]["difference"]).text(points) for row in each]
    length = Interval(**found[AVERAGE]["length"]["difference"]).text(signed_tokens)
    return {
        "title": f"{found['a']} - {found['b']}",
        "cells": [*accuracy, length],
        "sentence": found["sentence"],
    }


def _run(plan: Plan, run: Trained) -> dict[str, Any]:
    files = {
        "report": run.folder / "report.html",
        **{
            f"evaluation of step {step}": plan.evaluation(name) / "summary.md"
            for name, step in run.evaluations().items()
        },
        "comparison": plan.out / "logs" / f"compare-{run.name}.log",
        "model": run.exported,
        "log": plan.out / "logs" / f"train-{run.name}.log",
    }
    links = {name: link for name, path in files.items() if (link := _link(plan, path))}
    return {"name": run.name, "steps": f"{trained_steps(run)} of {plan.steps}", "links": links}


def _link(plan: Plan, path: Path) -> str | None:
    """Return the address of a file beside the page, None where it is not there."""
    return path.relative_to(plan.out).as_posix() if path.exists() else None


def _spent(plan: Plan) -> list[dict[str, str]]:
    """Return what each command took, and the sums."""
    spent = read_spent(plan.out)
    rows = [
        {"name": name, "seconds": tqdm.format_interval(found.seconds), "attempts": str(found.attempts)}
        for name, found in spent.items()
    ]
    total = {"seconds": tqdm.format_interval(sum(found.seconds for found in spent.values())), "attempts": ""}
    hours = sum(found.gpu_hours for found in spent.values())
    gpus = "" if plan.on_cpu else f"; {hours:.1f} GPU hours of training and evaluation"
    return [*rows, {"name": f"together{gpus}", **total}]


if __name__ == "__main__":
    main()
