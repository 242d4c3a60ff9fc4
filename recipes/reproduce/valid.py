"""When a result is there and valid: a sentence that says what is missing, or None.

Small files only are read, so that the first seconds of a call can say what is missing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from recipes.reproduce.plan import BASE, REHEARSAL, SMALL_BENCHMARKS, Plan, Trained
from verl_egrsd.checkpoints.places import STATE_FILE, local_file
from verl_egrsd.evaluation.published import published_problems
from verl_egrsd.evaluation.samples import SAMPLES, SETTINGS
from verl_egrsd.evaluation.summary import JSON_SUMMARY

INDEX, WEIGHTS_FILE = "model.safetensors.index.json", "model.safetensors"
CARD = "data_card.json"
"""What data_prep writes last (data_prep.card, whose imports take seconds)."""


def no_model(plan: Plan) -> str | None:
    """Say which file of the model is missing; also after a download that was cut off."""
    index = local_file(plan.weights, INDEX)
    parts = set(json.loads(index.read_text())["weight_map"].values()) if index else {WEIGHTS_FILE}
    wanted = ["config.json", "tokenizer_config.json", *sorted(parts)]
    found = (name for name in wanted if local_file(plan.weights, name) is None)
    missing = next(found, None)
    if missing is None and plan.on_cpu and not (REHEARSAL / "rehearsal.json").exists():
        missing = "rehearsal.json"
    return missing and f"{plan.weights} has no {missing} here"


def wanted_problems(plan: Plan) -> dict[str, int]:
    """Return the number of problems of each benchmark."""
    return SMALL_BENCHMARKS if plan.on_cpu else published_problems()


def no_benchmarks(plan: Plan) -> str | None:
    """Say which benchmark is missing, or has not all its problems."""
    for name, rows in wanted_problems(plan).items():
        file = plan.out / "benchmarks" / f"{name}.parquet"
        if not file.exists():
            return f"{file} is not there"
        if (found := pq.read_metadata(file).num_rows) != rows:
            return f"{file} has {found} rows, not {rows}"
    return None


def no_data(plan: Plan) -> str | None:
    """Say what is missing of the training rows, or which choice they were not prepared with."""
    folder = plan.out / "data"
    if not (folder / CARD).exists():
        return f"{folder / CARD} is not there"
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    for name, written in card["files"].items():
        if not (folder / name).exists() or (folder / name).stat().st_size != written["bytes"]:
            return f"{folder / name} is not as {CARD} describes it"
    for key, wanted in (("source", plan.source), ("tokenizer", plan.weights)):
        if card["options"][key] != wanted:
            return f"{folder} was prepared with {key}={card['options'][key]}, not {wanted}"
    compared, problems = sum(card["benchmarks"].values()), sum(wanted_problems(plan).values())
    other = f"{folder} was compared with {compared} problems of benchmarks, not with {problems}"
    return None if compared == problems else other


def no_evaluation(plan: Plan, name: str, model: str | Path) -> str | None:
    """Say what an evaluation lacks, or that it is older than the checkpoint."""
    folder = plan.evaluation(name)
    made_from = [] if name == BASE else [Path(model) / STATE_FILE]
    # eval refuses samples of another model, and else writes the summary again, which is then newer.
    if lacks := older(folder / JSON_SUMMARY, made_from):
        trained_anew = made_from and (folder / JSON_SUMMARY).exists()
        return f"{lacks} (remove {folder} if the run was trained anew)" if trained_anew else lacks
    sizes = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["identity"]["benchmarks"]
    wanted = sum(found["problems"] * found["samples"] for found in sizes.values())
    found = lines_of(folder / SAMPLES)
    return None if found == wanted else f"{folder / SAMPLES} holds {found} of {wanted} samples"


def not_exported(run: Trained) -> str | None:
    """Say that a run's adapter is not there, or older than its last checkpoint or than its evaluation."""
    made_from = [run.checkpoint(run.plan.steps) / STATE_FILE, *summaries_of(run)]
    return older(run.exported / "adapter_config.json", made_from)


def summaries_of(run: Trained) -> list[Path]:
    """Return the summary of a run's evaluation, for its model card; none before it is evaluated."""
    summary = run.plan.evaluation(run.name) / JSON_SUMMARY
    return [summary] if summary.exists() else []


def older(result: Path, made_from: list[Path]) -> str | None:
    """Say that a file, or one that it was made from, is not there, or that it is older than that."""
    if not result.exists():
        return f"{result} is not there"
    for file in made_from:
        if not file.exists():
            return f"{file}, which {result} was made from, is not there"
        if file.stat().st_mtime > result.stat().st_mtime:
            return f"{result} is older than {file}"
    return None


def lines_of(path: Path) -> int:
    """Return the number of whole lines of a file; 0 where it is not there."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
