"""One page: the table, the picture, and every question with its answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recipes.miniature.arms import UNTRAINED
from recipes.miniature.questions import QUESTIONS
from recipes.miniature.results import Difference, Measured, differences
from verl_egrsd.frontier.points import Point
from verl_egrsd.output.tables import text_table

WORDS = {"accuracy": ("less accurate", "more accurate"), "length": ("shorter", "longer")}
SCALE, UNIT = {"accuracy": 100, "length": 1}, {"accuracy": "points", "length": "tokens"}


class Picture(NamedTuple):
    """Arms in the accuracy-length plane, the title of the picture, and the name of its file."""

    file: str
    title: str
    points: Sequence[Point]


def pictures(arms: Mapping[str, Measured]) -> list[Picture]:
    """Return a picture of all arms, and one of those that beat the untrained model, where some do not."""
    points = {
        name: Point(found.arm.title, found.interval("accuracy"), found.interval("length"))
        for name, found in arms.items()
    }
    found = [Picture("frontier", "The miniature frontier", [*points.values()])]
    if UNTRAINED in points:
        untrained = points[UNTRAINED].accuracy.value
        better = [point for point in points.values() if point.accuracy.value > untrained]
        if 1 < len(better) < len(points) - 1:
            found.append(Picture("frontier_near", "The arms that beat the untrained model", better))
    return found


def results_table(arms: Mapping[str, Measured]) -> str:
    """Return one row per arm: accuracy and length with intervals, each seed, and what the gate did."""
    head = ["arm", "name", "accuracy, %", "seeds", "length, tokens", "seeds", "gate", "forks, %"]
    return text_table(head, [_row(found) for found in arms.values()])


def findings(arms: Mapping[str, Measured]) -> str:
    """Answer each question whose two arms were measured."""
    answers = differences(QUESTIONS, arms)
    lines = [
        f"- **{question.asks}** {arms[question.arm].arm.title} against {arms[question.other].arm.title}: "
        + "; ".join(in_words(metric, difference) for metric, difference in found.items())
        + "."
        for question, found in answers
    ]
    return "\n".join([FINDINGS.format(count=sum(len(found) for _, found in answers)), "", *lines])


def in_words(metric: str, difference: Difference) -> str:
    """Say whether an arm is longer or shorter, more or less accurate, or that it is not clear."""
    value, low, high = difference.found.scaled(SCALE[metric])
    numbers = f"{value:+.1f} {UNIT[metric]} [{low:+.1f}, {high:+.1f}]"
    if not difference.clear:
        return f"no clear difference in {metric} ({numbers})"
    return f"{WORDS[metric][value > 0]} ({numbers})"


def page(arms: Mapping[str, Measured], facts: Mapping[str, Any]) -> str:
    """Return the page in Markdown.

    Args:
        arms: what was measured, by name.
        facts: `about`, a paragraph, and `how`, further facts by name.
    """
    return "\n\n".join(
        [
            "# The miniature frontier",
            facts["about"],
            *(f"![accuracy against length: {drawn.title}]({drawn.file}.png)" for drawn in pictures(arms)),
            results_table(arms),
            LEGEND,
            "## What was found",
            findings(arms),
            "## How it was measured",
            "\n".join(f"- {name}: {_listed(value)}" for name, value in facts["how"].items()),
            "",
        ]
    )


FINDINGS = (
    "One line per question: the first arm minus the second. {count} differences were tested. One is called "
    "clear when its p-value is below 0.05 after Holm's correction for all of them, and all seeds of the two "
    "arms agree on its side. The intervals are not corrected."
)
LEGEND = (
    "In brackets: 95 % bootstrap intervals over problems, the answers of all seeds pooled. They leave out "
    "how much seeds differ, so the seeds are listed. Gate: its mean over all steps of the training. Forks: "
    "tokens at which the teacher is undecided now and in all of the next three."
)


def _row(found: Measured) -> Sequence[str]:
    cells = [found.arm.title, f"`{found.arm.name}`"]
    for metric in ("accuracy", "length"):
        cells.append(found.interval(metric).scaled(SCALE[metric]).text("{:.1f}".format))
        cells.append(", ".join(f"{SCALE[metric] * seed[metric]:.1f}" for seed in found.seeds))
    gate, forks = found.training.get("gate"), found.training.get("forks")
    return [
        *cells,
        "-" if gate is None else f"{gate:.3f}",
        "-" if forks is None else f"{100 * forks:.1f}",
    ]


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)
