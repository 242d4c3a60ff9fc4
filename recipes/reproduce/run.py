"""Run the stages of a reproduction whose results are missing.

    python -m recipes.reproduce.run --model qwen3_4b [--arms NAME ...] [--seeds N ...] [--stages NAME ...]

The recipes recipes/reproduce_qwen3_4b.sh and _8b.sh call this with their environment variables.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from recipes.environment import RECIPES, SHARED
from recipes.processes import run_jobs
from recipes.reproduce.plan import ARMS, CPU, GPU, HARDWARE, REHEARSAL, SOURCE, WEIGHTS, Plan
from recipes.reproduce.refused import ask_arms
from recipes.reproduce.spent import close_killed, spending
from recipes.reproduce.stages import NEEDS, PAGE, STAGES
from recipes.reproduce.trainings import save_steps, untrained
from recipes.reproduce.valid import no_model
from verl_egrsd.output.files import nearest_existing
from verl_egrsd.output.lock import only_writer
from verl_egrsd.output.named import HUB_ID
from verl_egrsd.processes import ended_by_signals
from verl_egrsd.watch.cluster import named_cluster

NEEDED = 20 * 2**30
"""Free bytes that a reproduction on GPUs needs beside its checkpoints: weights, data and samples."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 when all is done, 1 when something failed, 2 when something is missing."""
    given = _parser().parse_args(arguments)
    # A recipe that this one calls gets its own variables, and would take others for mistakes.
    for name in {*RECIPES["reproduce"]} - {"LOGGER", *SHARED}:
        os.environ.pop(name, None)
    try:
        plan = make_plan(given)
        chosen = _chosen(given.stages)
        plan.require_same_settings()
        print(overview(plan, chosen), flush=True)
        lacking = missing(plan, chosen)
    except (ValueError, RuntimeError) as error:  # also a file that pyarrow cannot read
        print(f"reproduce: {error}", file=sys.stderr)
        return 2
    if lacking:
        print("\n".join(f"reproduce: {sentence}" for sentence in lacking), file=sys.stderr)
        return 2
    if given.dry_run:
        return 0
    try:
        with (
            ended_by_signals("reproduce", "interrupted; the same command goes on from here."),
            only_writer(plan.out, "choose another folder (OUT)"),
        ):
            plan.record()
            for name in chosen:
                run_stage(plan, name)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 1
    if "page" in chosen:
        print(f"reproduce: the results are in {plan.out / PAGE}")
    return 0


def run_stage(plan: Plan, name: str) -> None:
    """Run the commands of a stage whose results are missing.

    Raises:
        RuntimeError: when a command failed, with the end of its log, or left no valid result.
    """
    for work in STAGES[name](plan):
        job = work.job(plan.out)
        close_killed(plan.out, work.name, job.log)
        if work.lacks() is None:
            continue
        if work.stale and work.stale.exists():
            shutil.rmtree(work.stale)
        print(f"reproduce: {name}: {work.name}; its log is {job.log}", flush=True)
        with (
            spending(plan.out, work.name, gpus=work.gpus),
            tqdm(total=work.total or None, desc=work.name, unit=work.unit, disable=None) as bar,
        ):
            run_jobs(
                [job], at_once=1, environment=work.environment, time_limit=math.inf, done=work.done, bar=bar
            )
        if name != "page" and not work.name.startswith("check-") and (still := work.lacks()):
            raise RuntimeError(f"{work.name} ended without an error, but {still}: see {job.log}.")


def overview(plan: Plan, chosen: Sequence[str]) -> str:
    """Return a line for each stage: how many of its results are there, and what the first lacks."""
    lines = [f"reproduce: {plan.model} on {plan.hardware}, {len(plan.runs)} runs, results in {plan.out}"]
    for name, works in STAGES.items():
        results = [work for work in works(plan) if not work.name.startswith("check-")]
        lacking = [found for work in results if (found := work.lacks())]
        state = f"{len(results) - len(lacking)} of {len(results)} done"
        reason = f"; {lacking[0]}" if lacking and name != "page" else ""
        lines.append(f"  {name:<11}{'' if name in chosen else '(not chosen) '}{state}{reason}")
    return "\n".join(lines)


def missing(plan: Plan, chosen: Sequence[str]) -> list[str]:
    """Return a sentence for each thing that the stages need and that is known to be missing now."""
    return [*_earlier_results(plan, chosen), *([] if plan.on_cpu else _on_gpus(plan, chosen))]


def _earlier_results(plan: Plan, chosen: Sequence[str]) -> Iterator[str]:
    """Name the stages whose results are needed, and that are neither there nor chosen."""
    for name in chosen:
        for needed in (other for other in NEEDS.get(name, ()) if other not in chosen):
            if lacking := next((found for work in STAGES[needed](plan) if (found := work.lacks())), None):
                yield f"the stage {name} needs the results of {needed}: {lacking}. Add {needed} to STAGES."


def _on_gpus(plan: Plan, chosen: Sequence[str]) -> Iterator[str]:
    yield from _names(plan, chosen)
    recipes = [Path("recipes") / f"{arm}_{plan.model}.sh" for arm in plan.arms]
    absent = [recipe for recipe in recipes if not recipe.exists()]
    for recipe in absent if "train" in chosen else ():
        yield f"{recipe} is not there: leave its arm out of ARMS."
    busy = [work for name in ("train", "evaluate") if name in chosen for work in STAGES[name](plan)]
    if any(work.lacks() for work in busy):
        if (found := gpus()) < int(plan.gpus):
            yield f"this node has {found} of {plan.gpus} GPUs: set GPUS, or HARDWARE=cpu for a rehearsal."
        if os.environ.get("RAY_ADDRESS") and (silence := named_cluster().silence()):
            yield silence
    if not {"model", "data", "train", "evaluate"} & {*chosen}:
        return
    lacking = [run for run in plan.runs if untrained(run)] if "train" in chosen and not absent else []
    asked = ask_arms(plan) if lacking else {}
    for reason in dict.fromkeys(answer.refused for answer in asked.values() if answer.refused):
        yield f"{' '.join(arm for arm, answer in asked.items() if answer.refused == reason)}: {reason}"
    # A supervised adapter is as large as the others.
    largest = max((answer.checkpoint for answer in asked.values()), default=0.0)
    checkpoints = len(lacking) * -(-plan.steps // save_steps(plan))
    needed = NEEDED + checkpoints * largest
    existing = nearest_existing(plan.out)
    if (free := shutil.disk_usage(existing).free) < needed:
        room = f"{free / 2**30:.0f} GiB free of {needed / 2**30:.0f}"
        beside = f"{checkpoints} checkpoints and {NEEDED / 2**30:.0f} GiB beside them"
        yield f"{existing} has {room}, for {beside}: choose another OUT, or fewer ARMS and SEEDS."


def _names(plan: Plan, chosen: Sequence[str]) -> Iterator[str]:
    """Say which of model and source is neither on this machine nor can be fetched from the hub."""
    reads_model = {"model", "data", "train", "evaluate"} & {*chosen}
    lacks = no_model(plan) if reads_model else None
    if lacks and (Path(plan.weights).is_dir() or not HUB_ID.fullmatch(plan.weights)):
        yield f"MODEL={plan.weights}: {lacks}. Name a folder with a model, or a hub id such as Qwen/Qwen3-4B."
    elif lacks and "model" in chosen and os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        yield f"{lacks}, and HF_HUB_OFFLINE is set: unset it, or name a folder (MODEL)."
    if "data" not in chosen or Path(plan.source).exists() or HUB_ID.fullmatch(plan.source):
        return
    if next(STAGES["data"](plan)).lacks():
        yield f"SOURCE={plan.source} does not exist: name a file or folder of rows, or a hub id."


def gpus() -> int:
    """Return the number of NVIDIA GPUs of this node that CUDA_VISIBLE_DEVICES does not hide."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 0
    here = sum(line.startswith("GPU ") for line in found.stdout.splitlines())
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return here
    return min(here, sum(name.strip() not in ("", "-1") for name in visible.split(",")))


def make_plan(given: argparse.Namespace) -> Plan:
    """Return the plan of a call; the CPU has defaults of its own.

    Raises:
        ValueError: for a value that no run can have.
    """
    on_cpu = given.hardware == CPU
    if on_cpu and given.weights:
        raise ValueError(
            f"MODEL={given.weights} with HARDWARE=cpu: the CPU trains the small model. Unset MODEL."
        )
    for name, value in (("SOURCE", given.source), ("PROTOCOL", given.protocol)):
        if on_cpu and value:
            raise ValueError(f"{name}={value} with HARDWARE=cpu: the CPU has its own. Unset {name}.")
    arms = given.arms or ["egrsd", "cl_egrsd", "rlsd", "opsd", "crisp", "grpo", "direction", "sft"]
    rehearsal = str(REHEARSAL / "data" / "train.parquet")
    steps = (2 if on_cpu else 100) if given.steps is None else given.steps
    return Plan(
        model=given.model,
        weights=str(REHEARSAL / "model") if on_cpu else given.weights or WEIGHTS[given.model],
        hardware=given.hardware,
        # The order of the tables, whatever the order of the call.
        arms=tuple(sorted(arms, key=lambda arm: [*ARMS, arm].index(arm))),
        seeds=tuple(given.seeds),
        protocol="rehearsal" if on_cpu else given.protocol or "paper",
        steps=steps,
        checkpoints=tuple(given.checkpoints),
        problems=given.problems,
        source=rehearsal if on_cpu else given.source or SOURCE,
        gpus=str(HARDWARE[given.hardware] if given.gpus is None else given.gpus),
        nodes=given.nodes,
        out=given.out or Path("outputs") / f"reproduce_{given.model}{'_cpu' if on_cpu else ''}",
    )


def _chosen(stages: Sequence[str]) -> list[str]:
    if unknown := [name for name in stages if name not in STAGES]:
        raise ValueError(f"STAGES: {unknown[0]!r} is unknown; the stages are {' '.join(STAGES)}.")
    return [name for name in STAGES if not stages or name in stages]


class _Parser(argparse.ArgumentParser):
    """Answers a wrong value in one sentence, which names the recipe's variable."""

    def error(self, message: str) -> NoReturn:
        """End with what argparse says of an option, under the name of its variable."""
        for option, variable in {"--weights": "MODEL", "--nodes": "NNODES"}.items():
            message = message.replace(f"argument {option}:", f"{variable}:")
        message = re.sub(r"argument --(\w+):", lambda found: f"{found[1].upper()}:", message)
        self.exit(2, f"reproduce: {message}. recipes/reproduce.sh says what each variable may be.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m recipes.reproduce.run")
    parser.add_argument(
        "--model", choices=WEIGHTS, required=True, help="decides recipes and published results"
    )
    parser.add_argument("--weights", help="folder or hub id (that of the paper)")
    parser.add_argument("--hardware", choices=HARDWARE, default=GPU, help="(%(default)s)")
    parser.add_argument("--arms", nargs="+", default=[], metavar="NAME", help=f"of {', '.join(ARMS)} (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="(0)")
    parser.add_argument("--protocol", choices=("paper", "precise"), help="(paper)")
    parser.add_argument("--steps", type=int, help="(100; on the CPU 2)")
    parser.add_argument("--checkpoints", nargs="+", type=int, default=[], help="evaluated beside the last")
    parser.add_argument("--problems", type=int, help="first N problems of each benchmark (all)")
    parser.add_argument("--source", help=f"of the training rows ({SOURCE})")
    parser.add_argument("--gpus", type=int, help="of each node (those of the hardware)")
    parser.add_argument(
        "--stages", nargs="+", default=[], metavar="NAME", help=f"of {', '.join(STAGES)} (all)"
    )
    parser.add_argument("--nodes", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--out", type=Path, help="folder of all results (outputs/reproduce_<model>)")
    parser.add_argument("--dry-run", action="store_true", help="only say what is there and what is missing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
