"""Rollouts that a training run dumped: one parquet file per step, one row per rollout.

The trainer writes them beside verl's own files (`trainer.rollout_data_dir`, `verl_egrsd.trainer.dump`).
Credit and weights are the values that the update used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from verl_egrsd.methods import Credited, EntropyGate, Method, Ratio, resolve
from verl_egrsd.methods.regimes import gate_views
from verl_egrsd.metrics import factor_metrics
from verl_egrsd.microscope.rollout import Rollout, Run, columns_of, padded, with_arrays
from verl_egrsd.rollouts.dump_format import FIXED, arrays_of, read_facts

OLD_NAMES = {"advantages": "advantage", "gate": "entropy_gate"}
"""Names of arrays in format 1, and their names today."""


def read_run(path: Path) -> Run:
    """Read a file `STEP.parquet`, or all of them in a folder, in the order of the steps.

    Raises:
        ValueError: for a file that the trainer did not write, or files of runs with different settings.
    """
    files = list(path.glob("*.parquet")) if path.is_dir() else [path]
    dumps = sorted(((read_facts(file), file) for file in files), key=lambda dump: dump[0]["step"])
    last, last_file = dumps[-1]
    for facts, file in dumps:
        if (facts["settings"], facts.get("method")) != (last["settings"], last.get("method")):
            raise ValueError(
                f"{file} was written under other settings than {last_file}: name one file, or keep the "
                "dumps of different runs in different folders."
            )
    steps = [facts["step"] for facts, _ in dumps]
    method = _method(last)
    batches = [_rollouts(facts, file, method) for facts, file in dumps]
    return Run(
        name=str(path),
        method=method,
        facts={
            "rollouts from": f"training, step {steps[0]}" + (f" to {steps[-1]}" if len(steps) > 1 else ""),
            "model": last["model"],
        },
        rollouts=[rollout for batch in batches for rollout in batch],
        metrics=_token_means([_metrics(batch, method) for batch in batches], batches),
    )


def _method(facts: Mapping[str, Any]) -> Method:
    settings = dict(facts["settings"])
    cap = settings.pop("max_response_length")
    if facts["format"] > 1:
        return resolve(facts["method"], settings, max_response_length=cap)
    # Format 1 does not name the estimator; its keys determine the method.
    keys = set(EntropyGate.__dataclass_fields__)
    gate = EntropyGate(**{key: value for key, value in settings.items() if key in keys})
    return Method("of version 0.1", "likelihood ratio x entropy gate", (Ratio(settings["clip"]), gate))


def _rollouts(facts: Mapping[str, Any], file: Path, method: Method) -> list[Rollout]:
    arrays = arrays_of(file)
    rows = pq.read_table(file, columns=[*FIXED, *arrays]).to_pylist()
    batch = [_rollout(row, arrays, f"step {facts['step']}, rollout {i}") for i, row in enumerate(rows)]
    if facts["format"] > 1:
        return with_arrays(batch, {})
    gate = next(factor for factor in method.factors if isinstance(factor, EntropyGate))
    views = gate_views(gate, columns_of(batch), low=facts["low"], high=facts["high"])
    weight = padded([row["ratio"] * row["entropy_gate"] for row in batch])
    return with_arrays(batch, {"weight": weight, **views})


def _rollout(row: Mapping[str, Any], arrays: Sequence[str], name: str) -> Rollout:
    same = ("problem", "student_prompt", "teacher_prompt", "ground_truth", "answer", "verdict", "reward")
    numbers = {OLD_NAMES.get(key, key): np.array(row[key], dtype=np.float32) for key in arrays}
    for key in numbers:
        if key.endswith("regime"):
            numbers[key] = numbers[key].astype(np.int64)
    texts = {key: row[key] for key in same}
    return Rollout(name, **texts, truncated=row["truncated"], tokens=tuple(row["tokens"]), arrays=numbers)


def _metrics(batch: Sequence[Rollout], method: Method) -> dict[str, float]:
    """Return the metrics of the factors over the weights that a step wrote."""
    names = [factor.name for factor in method.active]
    weights = {name: padded([row[name] for row in batch]) for name in names}
    credit, advantages = (padded([row[name] for row in batch]) for name in ("credit", "advantage"))
    return factor_metrics(method, columns_of(batch), Credited(credit, advantages, weights))


def _token_means(
    metrics: Sequence[Mapping[str, float]], batches: Sequence[Sequence[Rollout]]
) -> dict[str, float]:
    """Return the means over the steps, each weighted by its tokens."""
    tokens = [sum(len(row.tokens) for row in batch) for batch in batches]
    return {
        name: float(np.average([found[name] for found in metrics], weights=tokens)) for name in metrics[0]
    }
