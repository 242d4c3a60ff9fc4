"""The panels of a run's metrics over its steps, and their picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from verl_egrsd.methods import Distillation, factors
from verl_egrsd.output.pictures import COLOURS, GREY, style
from verl_egrsd.report.history import Steps, metric_names

VALIDATION = "val-core/"
"""Prefix of verl's main validation metrics; the rest of the name is data source and variable."""
VALIDATION_LOSS = "val/loss"
"""verl's name of the loss of a validation, where supervised training has one."""
PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("accuracy (share)", ("egrsd/correct", VALIDATION)),
    ("loss (nats per token)", ("train/loss", VALIDATION_LOSS)),
    ("reward", ("egrsd/reward/mean", "egrsd/reward/std")),
    ("response length (tokens)", tuple(f"egrsd/response_length/{x}" for x in ("mean", "right", "wrong"))),
    ("truncated and repeated (share)", ("egrsd/truncated", "egrsd/repetition/mean", "egrsd/repetition/max")),
    ("hesitation rate (words per 100)", ("egrsd/hesitation_rate",)),
    ("teacher entropy (nats)", ("egrsd/teacher_entropy/mean", "egrsd/teacher_entropy/max")),
    ("student entropy (nats)", ("egrsd/student_entropy/mean", "egrsd/student_entropy/max")),
    ("gradient norm", ("actor/grad_norm", "train/grad_norm")),
    ("time (seconds)", ("timing_s/step", "timing_s/gen", "timing_s/teacher")),
)
"""Panels of every run: title and metrics. A name that ends in a slash stands for every metric below it."""
PANELS_PER_ROW, PANEL_SIZE = 3, (3.6, 2.5)
MARGINS = {"left": 0.55, "right": 0.1, "bottom": 0.5, "top": 0.3}
GAP = {"wspace": 0.2, "hspace": 0.5}
"""Inches around the panels, and space between them as shares of a panel. Fixed values need no layout."""
_LEGEND_LINE, LEGEND_AT_MOST = 0.105, 0.6
"""Height of one line of the legend, and of the whole legend, as shares of a panel."""
LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
FEW = 30
"""A curve with at most this many points has markers."""

Curve = list[tuple[int, float]]


def panels() -> list[tuple[str, tuple[str, ...]]]:
    """Return the panels of every run, the weights, each factor and a divergence: title and metrics."""
    known = factors()
    weights = ("egrsd/weight/mean", *(f"egrsd/{name}/mean" for name in known))
    own = [
        (panel.title, tuple(f"egrsd/{name}" for name in panel.metrics))
        for panels_of_part in (*(factor.panels for factor in known.values()), Distillation.panels)
        for panel in panels_of_part
    ]
    return [*PANELS, ("mean weight", weights), *own]


def metric_curves(steps: Steps) -> dict[str, Curve]:
    """Return (step, value) pairs of every metric that the panels show and the run has."""
    present = metric_names(steps.values())
    wanted = [name for _, names in panels() for name in members(names, present)]
    return {
        name: [(step, metrics[name]) for step, metrics in steps.items() if name in metrics] for name in wanted
    }


def draw_curves(steps: Steps, breaks: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Draw the panels for which the run has metrics, and a line after each step at which settings changed."""
    found = metric_curves(steps)
    filled = filled_panels(found)
    rows = max(1, -(-len(filled) // PANELS_PER_ROW))
    with style():
        figure = _sheet(PANELS_PER_ROW * PANEL_SIZE[0], rows * PANEL_SIZE[1])
        grid = figure.subplots(rows, PANELS_PER_ROW, squeeze=False).flatten()
        for axes, (title, names) in zip(grid, filled, strict=False):
            _draw_panel(axes, title, {name: found[name] for name in names})
            for item in breaks:
                axes.axvline(item["step"] + 0.5, color=GREY, linestyle=":", linewidth=1)
        for axes in grid[len(filled) :]:
            axes.set_axis_off()
        return figure


def _sheet(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=MARGINS["left"] / width,
        right=1 - MARGINS["right"] / width,
        bottom=MARGINS["bottom"] / height,
        top=1 - MARGINS["top"] / height,
        **GAP,
    )
    return figure


def filled_panels(curves: Collection[str]) -> list[tuple[str, list[str]]]:
    """Return title and metrics of the panels for which there are curves."""
    found = [(title, members(names, list(curves))) for title, names in panels()]
    return [(title, names) for title, names in found if names]


def shown_name(metric: str) -> str:
    """Return the name of a metric for the reader."""
    return metric.removeprefix("egrsd/").replace(VALIDATION, "validation ")


def members(names: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return the metrics that the run has, in the order of the panel's names."""
    return [
        metric
        for name in names
        for metric in present
        if metric == name or (name.endswith("/") and metric.startswith(name))
    ]


def _draw_panel(axes: Axes, title: str, found: dict[str, Curve]) -> None:
    looks = zip(cycle(COLOURS), cycle(LINES), cycle(_MARKERS), strict=False)
    for (name, curve), (colour, line, marker) in zip(found.items(), looks, strict=False):
        few = len(curve) <= FEW
        axes.plot(
            *zip(*curve, strict=True),
            color=colour,
            linestyle=line,
            marker=marker if few else None,
            markersize=3,
            linewidth=1.2,
            label=shown_name(name),
        )
    axes.set_title(title, loc="left")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Room for the legend above the curves, and no negative ticks if no value is negative.
    bottom, top = axes.get_ylim()
    if min(value for curve in found.values() for _, value in curve) >= 0:
        bottom = max(bottom, 0)
    legend = min(_LEGEND_LINE * (len(found) + 0.3), LEGEND_AT_MOST)
    axes.set_ylim(bottom, bottom + (top - bottom) / (1 - legend))
    axes.legend(loc="upper left")
