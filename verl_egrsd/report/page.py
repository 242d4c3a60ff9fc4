"""The report of a run as facts for JSON, and as one HTML page that loads nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from verl_egrsd.methods import Distillation
from verl_egrsd.output.pages import fill
from verl_egrsd.report.chart import (
    FRAME,
    drawn_panels,
    embedded_curves,
    ends_of,
    steps_per_point,
    with_few_digits,
)
from verl_egrsd.report.curves import VALIDATION, VALIDATION_LOSS, metric_curves
from verl_egrsd.report.headline import headline, validation_accuracy
from verl_egrsd.report.health import VALIDATED, examine
from verl_egrsd.report.history import Steps, json_number
from verl_egrsd.report.settings import Thresholds

REPORT_SCHEMA = "verl_egrsd.report/2"
MARKS = {"ok": "●", "warn": "▲", "fail": "■"}
"""A symbol per level, for readers who do not see the colours."""


def facts(run: Mapping[str, Any], steps: Steps, thresholds: Thresholds) -> dict[str, Any]:
    """Return the content of report.json except for `ending`.

    Args:
        run: the facts known at the start: name, date, settings, versions, data, breaks.
        steps: metrics by step.
        thresholds: thresholds of the health checks.
    """
    found = examine([*steps.values()], thresholds, own=_parts(run["settings"]))
    return {
        "schema": REPORT_SCHEMA,
        **run,
        "steps": max(steps, default=0),
        "health": {
            name: asdict(finding) | {"value": json_number(finding.value)}
            for name, finding in found.items()
            if finding
        },
        "headline": headline(run, steps, thresholds.window),
        "not_measured": [name for name, finding in found.items() if not finding],
        "thresholds": asdict(thresholds),
        "curves": {
            name: [[step, json_number(value)] for step, value in curve]
            for name, curve in metric_curves(steps).items()
        },
    }


def _parts(settings: Mapping[str, Any]) -> Collection[str]:
    """Return the names of the factors of a run's method, and `divergence` if it has one."""
    method = (settings.get("algorithm") or {}).get("egrsd", {})
    return {*method.get("factors", ()), *({Distillation.name} & method.keys())}


def report_page(report: Mapping[str, Any]) -> str:
    """Return the HTML page of a report: the :func:`facts` and the `ending`."""
    curves, breaks = report["curves"], report["breaks"]
    shown = with_few_digits(curves)
    validation = {
        name: {step: _shown(report, name, value) for step, value in curve}
        for name, curve in curves.items()
        if name.startswith((VALIDATION, VALIDATION_LOSS))
    }
    validated = sorted({step for values in validation.values() for step in values})
    return fill(
        "verl_egrsd.report",
        "page.html.jinja",
        "curves.js",
        report=report,
        marks=MARKS,
        validated=validated,
        validation={name.removeprefix(VALIDATION): values for name, values in validation.items()},
        settings=json.dumps(report["settings"], indent=1, ensure_ascii=False),
        box=FRAME,
        width=steps_per_point(*ends_of(shown)),
        panels=drawn_panels(shown, breaks),
        numbers=embedded_curves(shown, breaks),
    )


def _shown(report: Mapping[str, Any], name: str, value: float | None) -> str:
    """Return a result of a validation: an accuracy in percent, with its interval."""
    if value is None:
        return "not a number"
    return validation_accuracy(report, name, value) if VALIDATED.fullmatch(name) else f"{value:.4f}"
