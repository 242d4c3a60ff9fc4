"""`python -m verl_egrsd.rehearsal.report RUN`: a summary in the terminal and `RUN/curves.png`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

Step = dict[str, float]

PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("reward", ("egrsd/reward/mean", "egrsd/correct")),
    ("response length (tokens)", ("egrsd/response_length/mean", "egrsd/response_length/right")),
    ("teacher entropy (nats)", ("egrsd/teacher_entropy/mean",)),
    ("gate", ("egrsd/gate/mean", "egrsd/gate/min")),
    ("ratio", ("egrsd/ratio/mean", "egrsd/weight/mean")),
)
TIMES = ("gen", "old_log_prob", "teacher", "adv", "update_actor", "update_weights", "step")


def read_metrics(path: Path) -> dict[int, Step]:
    """Return the metrics of each step from verl's JSON lines; validation of a step is merged into it."""
    steps: dict[int, Step] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        steps.setdefault(entry["step"], {}).update(entry["data"])
    return dict(sorted(steps.items()))


def plot(steps: dict[int, Step], path: Path) -> None:
    """Draw reward, length, entropy, gate and ratio over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(PANELS), figsize=(4 * len(PANELS), 3.2), layout="constrained")
    for axis, (title, names) in zip(axes, PANELS, strict=True):
        for name in names:
            points = [(step, metrics[name]) for step, metrics in steps.items() if name in metrics]
            if points:
                axis.plot(
                    *zip(*points, strict=True), marker="o", markersize=3, label=name.removeprefix("egrsd/")
                )
                axis.legend(fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def summarise(steps: dict[int, Step], seconds: dict[str, float]) -> str:
    """Return a table of first and last values, validation accuracy and seconds per phase."""
    trained = [metrics for metrics in steps.values() if "training/global_step" in metrics]
    first, last = trained[0], trained[-1]
    lines = [f"{'':34}{'first step':>12}{'last step':>12}"]
    for _, names in PANELS:
        lines += [
            f"{name:34}{first[name]:12.3f}{last[name]:12.3f}"
            for name in names
            if name in first and name in last
        ]
    for name in sorted({key for metrics in steps.values() for key in metrics if key.startswith("val-core/")}):
        values = [f"{metrics[name]:.3f}" for metrics in steps.values() if name in metrics]
        lines.append(f"validation {name.removeprefix('val-core/')}: {' -> '.join(values)}")
    later = trained[1:] or trained
    phases = [(name, [m[f"timing_s/{name}"] for m in later if f"timing_s/{name}" in m]) for name in TIMES]
    means = {name: sum(values) / len(values) for name, values in phases if values}
    besides = means["step"] - means["gen"]
    lines.append("seconds per step: " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()))
    lines[-1] += f"; besides generation {besides:.2f}"
    lines.append("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the summary of a run and draw its curves; exit code 1 when it left no metrics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run, with metrics.jsonl")
    parser.add_argument(
        "--seconds", nargs="*", default=[], metavar="PHASE=SECONDS", help="times to print along"
    )
    options = parser.parse_args(arguments)
    metrics = options.run / "metrics.jsonl"
    if not metrics.exists():
        print(f"{metrics} does not exist: the run ended before its first step.", file=sys.stderr)
        return 1
    steps = read_metrics(metrics)
    plot(steps, options.run / "curves.png")
    seconds = {name: float(value) for name, value in (item.split("=") for item in options.seconds)}
    print(summarise(steps, seconds))
    print(
        f"curves: {options.run / 'curves.png'}, metrics: {metrics}, checkpoints: "
        f"{options.run / 'checkpoints'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
