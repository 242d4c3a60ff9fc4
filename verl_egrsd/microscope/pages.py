"""The pages: one for each response, or for a pair of them, and an index with the aggregates.

Every page contains its style, its script and its numbers, and loads nothing from a network.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup, escape

from verl_egrsd import __version__
from verl_egrsd.config import flat
from verl_egrsd.credit import Regime
from verl_egrsd.microscope.aggregates import Aggregates, aggregate
from verl_egrsd.microscope.colours import curves, labels, quantities, scales
from verl_egrsd.microscope.mathematics import drawn, drawn_answer
from verl_egrsd.microscope.rollout import Rollout, Run
from verl_egrsd.output.files import completed_folder
from verl_egrsd.output.pages import own_script, page_environment

DIGITS = 6
"""Significant digits of the numbers on a page."""
BLOCK = 400
"""A block of tokens ends at the first line break after this many tokens, or after twice as many.

The browser lays out a block when it comes into sight: small blocks cost a layout in every frame, large ones a
long layout."""
LINE = 100
"""Characters per line, to estimate the height of a block before its layout."""
REGIME_NAMES = [regime.name.lower() for regime in Regime if regime != Regime.NONE]


@dataclass(frozen=True)
class Page:
    """A page of one rollout, or of one from each run.

    Attributes:
        file: name of the file.
        panels: the panels side by side, each with the name of its run and its rollout.
    """

    file: str
    panels: Sequence[tuple[Run, Rollout]]


@dataclass(frozen=True)
class RunSummary:
    """The facts of a run that the index shows."""

    run: Run
    aggregates: Aggregates

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The source of the rollouts, and the settings of the method."""
        settings = [
            (f"algorithm.egrsd.{key}", str(value)) for key, value in flat(self.run.method.keys()).items()
        ]
        return [*self.run.facts.items(), ("method", self.run.method.name), *settings]


def write_pages(runs: Sequence[Run], out: Path, limit: int) -> Path:
    """Write index and pages to a folder; the folder gets its name when it is complete.

    Args:
        runs: one run, or two that are shown side by side.
        out: folder to write; it must not exist.
        limit: largest number of pages; the last rollouts get them. The aggregates cover all rollouts.

    Returns:
        the index.

    Raises:
        FileExistsError: when `out` exists.
        ValueError: for a run without a token.
    """
    with completed_folder(out) as folder:
        numbered = enumerate(_panels(runs, limit), start=1)
        pages = [Page(f"rollout-{i:04}.html", panels) for i, panels in numbered]
        summaries = [RunSummary(run, aggregate(run)) for run in runs]
        environment, shown = _environment(), labels(runs)
        shared = {
            "scales": scales(runs),
            "quantities": quantities(runs),
            "labels": shown,
            "curves": curves(runs),
            "version": __version__,
        }
        rollout, index = (environment.get_template(f"{name}.html.jinja") for name in ("rollout", "index"))
        scripts = {name: own_script(environment, f"{name}.js") for name in ("rollout", "index")}
        files = ["", *(page.file for page in pages), ""]
        for page, before, after in zip(pages, files, files[2:], strict=False):
            panels = [_panel(run, one, list(shown)) for run, one in page.panels]
            around = {"before": before, "after": after}
            text = rollout.render(panels=panels, **around, **shared, **scripts["rollout"])
            (folder / page.file).write_text(text, encoding="utf-8")
        top = partial(_top, summaries)
        text = index.render(runs=summaries, pages=pages, top=top, **shared, **scripts["index"])
        (folder / "index.html").write_text(text, encoding="utf-8")
    return out / "index.html"


def _environment() -> Environment:
    environment = page_environment("verl_egrsd.microscope", "templates")
    environment.filters |= {"verbatim": verbatim, "drawn": drawn, "drawn_answer": drawn_answer}
    environment.globals["regimes"] = REGIME_NAMES
    return environment


def _top(summaries: Sequence[RunSummary], table: str, field: str) -> float:
    """Return the largest mean of an array in a table of all runs; bars end there, so that they compare."""
    rows = (row for summary in summaries for row in getattr(summary.aggregates, table))
    return max(row.restored if table == "regimes" else row.means.get(field, 0.0) for row in rows)


def verbatim(text: str) -> Markup:
    """Return text so that a browser shows every character, also a carriage return."""
    return escape(text).replace("\r", Markup("&#13;"))


def _panels(runs: Sequence[Run], limit: int) -> Sequence[Sequence[tuple[Run, Rollout]]]:
    """Return the panels of each page: one rollout, or one rollout of each run for the same problem."""
    if len(runs) == 1:
        return [((runs[0], rollout),) for rollout in runs[0].rollouts[-limit:]]
    first, second = runs
    partners: dict[str, deque[Rollout]] = defaultdict(deque)
    for rollout in second.rollouts:
        partners[rollout.problem].append(rollout)
    pairs = [
        ((first, rollout), (second, partners[rollout.problem].popleft()))
        for rollout in first.rollouts
        if partners[rollout.problem]
    ]
    if not pairs:
        raise ValueError(f"{first.name} and {second.name} share no problem: compare runs on the same rows.")
    return pairs[-limit:]


def _panel(run: Run, rollout: Rollout, arrays: Sequence[str]) -> dict[str, Any]:
    numbers = {name: _rounded(rollout[name]) for name in arrays}
    return {
        "run": run,
        "rollout": rollout,
        "blocks": list(_blocks(rollout.tokens)),
        "numbers": numbers,
    }


def _blocks(tokens: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the tokens in blocks, each with an estimate of its lines."""
    start = 0
    for end, token in enumerate(tokens, start=1):
        length = end - start
        if end == len(tokens) or (length >= BLOCK and "\n" in token) or length == 2 * BLOCK:
            block = tokens[start:end]
            yield sum(len(line) // LINE + 1 for line in "".join(block).split("\n")), block
            start = end


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]
