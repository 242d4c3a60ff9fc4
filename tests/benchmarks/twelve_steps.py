"""What the health checks say after twelve steps of every preset, with the small model of the rehearsal.

    python -m tests.benchmarks.twelve_steps > tests/benchmarks/results/twelve_steps.md

It took 40 minutes on two cores that other work shared. Presets whose processes have equal settings share a
start. Runs that have finished are kept in outputs/twelve_steps, so the same command goes on after an
interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from recipes.cpu import CPU_TRAINING
from recipes.miniature.sweep import require_shared_processes, sweep
from recipes.miniature.train import INITIAL
from recipes.rehearsal.build import BuildSettings, build
from tests.benchmarks.conditions import conditions_of_stack
from tests.support.composing import FOLDER, composed
from verl_egrsd.main import check
from verl_egrsd.output.tables import text_table
from verl_egrsd.report.run import JSON_FILE

OUT = Path("outputs/twelve_steps")
MODEL = Path(".cache/rehearsal/small")
ROWS = "train.parquet"
PRESETS = sorted(path.stem for path in (FOLDER / "preset").glob("*.yaml"))
TIME_LIMIT = 7200
"""Seconds for all runs of one start."""


def config_of(preset: str) -> DictConfig:
    """Return the configuration of `verl-egrsd train preset=PRESET model=tiny hardware=cpu`."""
    folder = (OUT / preset).absolute()
    keys = [f"trainer.default_local_dir={folder}", f"trainer.experiment_name={preset}"]
    keys += [f"data.train_files={(OUT / ROWS).absolute()}", "trainer.resume_mode=disable"]
    return composed(f"+preset={preset}", "+model=tiny", "+hardware=cpu", *keys)


def write_rows() -> None:
    """Write the rows of the rehearsal; its problem stands for the translation that COPSD reads too."""
    rows = pd.read_parquet(MODEL / "data" / ROWS)
    rows["extra_info"] = [extra | {"problem_en": extra["problem"]} for extra in rows["extra_info"]]
    OUT.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(OUT / ROWS)


def starts(presets: Sequence[str]) -> list[list[str]]:
    """Return the presets in groups whose runs can follow one another on the same processes."""
    groups: list[list[str]] = []
    for preset in presets:
        for group in groups:
            with suppress(ValueError):
                require_shared_processes(config_of(group[0]), config_of(preset))
                group.append(preset)
                break
        else:
            groups.append([preset])
    return groups


def train(presets: Sequence[str]) -> None:
    """Train presets of one start, in this process."""
    configs = [config_of(preset) for preset in presets]
    for config in configs:
        check(config)
        os.makedirs(config.trainer.default_local_dir, exist_ok=True)
    sweep(configs, (OUT / f"{INITIAL}_{presets[0]}").absolute())


def report_of(preset: str) -> dict[str, Any] | None:
    """Return the report of a finished run."""
    path = OUT / preset / JSON_FILE
    report = json.loads(path.read_text()) if path.exists() else None
    return report if report and report["ending"] and report["ending"]["how"] == "finished" else None


def loud(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the health checks that warn or fail, by name."""
    return {name: found for name, found in report["health"].items() if found and found["level"] != "ok"}


def row_of(preset: str, report: dict[str, Any]) -> tuple[str, ...]:
    """Return preset, steps, and how many checks were ok of those that were measured."""
    measured, levels = sum(map(bool, report["health"].values())), loud(report)
    others = ", ".join(f"{name} ({found['level']})" for name, found in levels.items())
    return (
        f"`{preset}`",
        str(report["total_steps"]),
        f"{measured - len(levels)} of {measured}",
        others or "-",
    )


def page(reports: dict[str, dict[str, Any]], load: float) -> str:
    """Return the table, and what each check said that was not ok."""
    rows = [row_of(preset, report) for preset, report in reports.items()]
    said = [
        f"- `{preset}`, {name}: {found['reading']}"
        for preset, report in reports.items()
        for name, found in loud(report).items()
    ]
    return "\n".join(
        (
            "# Twelve steps of every preset\n",
            "`verl-egrsd train preset=PRESET model=tiny hardware=cpu`, and its health checks at the end.\n",
            text_table(("preset", "steps", "checks that are ok", "others"), rows),
            "\nWhat the others say:\n",
            *said,
            f"\n{conditions_of_stack(load)}",
            "- `python -m tests.benchmarks.twelve_steps > tests/benchmarks/results/twelve_steps.md`",
        )
    )


def main() -> None:
    """Train what is missing and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", nargs="+", metavar="PRESET", help="train these on one start, and stop")
    given = parser.parse_args()
    if given.train:
        train(given.train)
        return
    load = os.getloadavg()[0]
    with redirect_stdout(sys.stderr):
        build(MODEL, BuildSettings())
    write_rows()
    for group in starts([preset for preset in PRESETS if not report_of(preset)]):
        command = [sys.executable, "-m", "tests.benchmarks.twelve_steps", "--train", *group]
        with (OUT / f"{group[0]}.log").open("a") as log:
            subprocess.run(
                command,
                env=os.environ | CPU_TRAINING,
                check=True,
                timeout=TIME_LIMIT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    reports = {preset: report_of(preset) for preset in PRESETS}
    print(page({preset: report for preset, report in reports.items() if report}, load))


if __name__ == "__main__":
    main()
