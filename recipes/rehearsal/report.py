"""`python -m recipes.rehearsal.report RUN`: a summary of the run in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from verl_egrsd.report.curves import VALIDATION
from verl_egrsd.report.health import examine
from verl_egrsd.report.history import Steps, read_steps, training_steps
from verl_egrsd.report.run import HTML_FILE, STEPS_FILE

SHOWN = (
    *("egrsd/reward/mean", "egrsd/correct", "egrsd/response_length/mean", "egrsd/response_length/right"),
    *("egrsd/teacher_entropy/mean", "egrsd/entropy_gate/mean", "egrsd/entropy_gate/min", "egrsd/ratio/mean"),
    *("egrsd/weight/mean", "egrsd/repetition/mean", "egrsd/hesitation_rate"),
)
"""Metrics of the table of first and last values."""
TIMES = ("gen", "old_log_prob", "teacher", "adv", "update_actor", "update_weights", "step")


def summarise(steps: Steps, seconds: dict[str, float]) -> str:
    """Return first and last values, health checks that warn or fail, validation, and seconds per phase."""
    trained = training_steps(steps)
    first, last = trained[0], trained[-1]
    lines = [f"{'':34}{'first step':>12}{'last step':>12}"]
    lines += [
        f"{name:34}{first[name]:12.3f}{last[name]:12.3f}" for name in SHOWN if name in first and name in last
    ]
    findings = examine([*steps.values()])
    loud = {name: found for name, found in findings.items() if found and found.level != "ok"}
    lines += [f"{found.level}: {name}: {found.reading} {found.advice}" for name, found in loud.items()]
    measured = sum(found is not None for found in findings.values())
    lines.append(f"health checks: {measured - len(loud)} of {measured} ok")
    for name in sorted({key for metrics in steps.values() for key in metrics if key.startswith(VALIDATION)}):
        values = [f"{metrics[name]:.3f}" for metrics in steps.values() if name in metrics]
        lines.append(f"validation {name.removeprefix(VALIDATION)}: {' -> '.join(values)}")
    later = trained[1:] or trained
    phases = [(name, [m[f"timing_s/{name}"] for m in later if f"timing_s/{name}" in m]) for name in TIMES]
    means = {name: sum(values) / len(values) for name, values in phases if values}
    besides = means["step"] - means["gen"]
    lines.append("seconds per step: " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()))
    lines[-1] += f"; besides generation {besides:.2f}"
    lines.append("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the summary of a run; exit code 1 when it left no metrics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help=f"folder of the run, with {STEPS_FILE}")
    parser.add_argument(
        "--seconds", nargs="*", default=[], metavar="PHASE=SECONDS", help="times to print along"
    )
    options = parser.parse_args(arguments)
    metrics = options.run / STEPS_FILE
    if not metrics.exists():
        print(f"{metrics} does not exist: the run ended before its first step.", file=sys.stderr)
        return 1
    seconds = {name: float(value) for name, value in (item.split("=") for item in options.seconds)}
    print(summarise(read_steps(metrics), seconds))
    print(
        f"report: {options.run / HTML_FILE}, metrics: {metrics}, checkpoints: {options.run / 'checkpoints'}"
    )
    rollouts = sorted(options.run.glob("rollouts/*.parquet"), key=lambda path: int(path.stem))
    if rollouts:  # a method without a teacher writes none
        print(
            "which tokens got the credit: "
            f".venv/bin/verl-egrsd inspect {rollouts[-1]} --out {options.run / 'inspect'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
