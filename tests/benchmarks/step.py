"""Where the time of a step goes: EGRSD against GRPO on the miniature, in alternating runs.

    python -m tests.benchmarks.step

Run it from the checkout on an idle machine; it takes some ten minutes, and builds the miniature's model first
if it is not there. All runs share one start of Ray and vLLM. It writes results/step.md and results/step.png
beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from recipes.miniature.measurement import BUILD, MODEL
from recipes.rehearsal.build import build
from tests.benchmarks.conditions import conditions_of_stack
from verl_egrsd.cost.work import MeanRollout, share_of_teacher
from verl_egrsd.output.tables import text_table
from verl_egrsd.report.history import read_steps, training_steps
from verl_egrsd.report.run import STEPS_FILE

ARMS = ("egrsd", "grpo")
RESULTS = Path(__file__).parent / "results"
SKIPPED = 2
"""Steps at the beginning of each run that are left out."""

Steps = Sequence[Mapping[str, float]]


def phases(step: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of each part of a step; the parts add up to it."""
    teacher = step.get("timing_s/teacher", 0.0)
    found = {
        "generation": step["timing_s/gen"],
        "student's scores": step["timing_s/old_log_prob"],
        "teacher's scores": teacher,
        "advantages and credit": step["timing_s/adv"] - teacher,
        "update": step["timing_s/update_actor"],
        "weights to vLLM": step["timing_s/update_weights"],
    }
    return found | {"other": step["timing_s/step"] - sum(found.values())}


def medians(runs: Sequence[Steps]) -> dict[str, float]:
    """Return the median of each part over the steps of all runs."""
    parts = [phases(step) for run in runs for step in run[SKIPPED:]]
    return {name: statistics.median(part[name] for part in parts) for name in parts[0]}


def mean(runs: Sequence[Steps], metric: str) -> float:
    """Return the mean of a metric over the steps of all runs."""
    return statistics.fmean(step[metric] for run in runs for step in run[SKIPPED:])


def draw(found: Mapping[str, Mapping[str, float]], file: Path) -> None:
    """Draw a stacked bar per arm."""
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    left = dict.fromkeys(found, 0.0)
    colours = ("#bbbbbb", "#4477aa", "#aa3377", "#ccbb44", "#228833", "#66ccee", "#eeeeee")
    for name, colour in zip(next(iter(found.values())), colours, strict=True):
        widths = [found[arm][name] for arm in found]
        axes.barh(list(found), widths, left=list(left.values()), color=colour, edgecolor="black", label=name)
        left = {arm: left[arm] + found[arm][name] for arm in found}
    axes.set_xlabel("seconds per step of 32 rollouts")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(file, dpi=150)


def train(out: Path, rounds: int, steps: int) -> dict[str, list[Steps]]:
    """Train the arms in turn and return the metrics of their steps."""
    names = [f"{arm}-{seed}" for seed in range(rounds) for arm in ARMS]
    command = [sys.executable, "-m", "recipes.miniature.train", "--out", str(out), "--runs", *names]
    command += ["--set", f"trainer.total_training_steps={steps}", "trainer.save_freq=-1"]
    environment = os.environ | {"VERL_PLATFORM": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1"}
    subprocess.run(command, check=True, timeout=1800, stdout=sys.stderr, env=environment)
    found = {name: training_steps(read_steps(out / name / STEPS_FILE)) for name in names}
    return {arm: [found[name] for name in names if name.startswith(arm)] for arm in ARMS}


def main() -> None:
    """Measure, and write the page and the picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    build(MODEL, BUILD)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        runs = train(Path(folder), options.rounds, options.steps)
    found = {arm: medians(runs[arm]) for arm in ARMS}
    draw(found, RESULTS / "step.png")
    besides = {arm: sum(found[arm].values()) - found[arm]["generation"] for arm in ARMS}
    rows = [(name, *(f"{found[arm][name]:.3f}" for arm in ARMS)) for name in found[ARMS[0]]]
    rows.append(("all beside generation", *(f"{besides[arm]:.3f}" for arm in ARMS)))
    prompt, response = mean(runs["egrsd"], "prompt_length/mean"), mean(runs["egrsd"], "response_length/mean")
    lengths = MeanRollout(prompt, mean(runs["egrsd"], "egrsd/teacher_prompt/mean") - prompt, response)
    floor, share = share_of_teacher(lengths), found["egrsd"]["teacher's scores"] / besides["egrsd"]
    page = [
        "# Where the time of a step goes",
        f"32 rollouts per step; medians over {options.rounds} runs of each, in turn, without the first "
        f"{SKIPPED} steps. Mean prompt {lengths.prompt:.0f}, what the teacher reads beyond it "
        f"{lengths.solution:.0f}, response {lengths.response:.0f} tokens (GRPO: "
        f"{mean(runs['grpo'], 'response_length/mean'):.0f}).",
        "![stacked bars of both](step.png)",
        text_table(("phase", *(f"{arm}, s" for arm in ARMS)), rows),
        f"Beside generation, EGRSD takes {besides['egrsd'] / besides['grpo']:.2f} times as long as GRPO; "
        f"counted in tokens it would be {floor:.2f} times. The teacher's share is {100 * share:.0f} %.",
        f"{conditions_of_stack(load)}\n- `python -m tests.benchmarks.step`",
    ]
    (RESULTS / "step.md").write_text("\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
