"""Build everything that a rehearsal needs: model, tokenizer, training and validation rows.

    python -m recipes.rehearsal.build --out .cache/rehearsal/small
    python -m recipes.rehearsal.build --out .cache/rehearsal/qwen3 --vocabulary qwen3 --data math500.jsonl

`small` is a model of 0.5 M parameters that solves about half of the sums that it is asked, so that training
it further shows something. Its weights come with the checkout, as this command trained them (`--retrain`
trains them again, which takes minutes on two cores; another seed, number of steps or role does so too).
`qwen3` pairs the real Qwen3 tokenizer with a tiny random model and real problems: it shows that sizes, ids
and templates fit, and learns nothing.

The folder gets `model/`, `data/train.parquet`, `data/validation.parquet`, with `small` also
`data/train_wrong.parquet` (the same rows with wrong reference solutions) and, last, `rehearsal.json` with the
settings and the measured accuracy. A folder whose `rehearsal.json` has the same settings is not changed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import Qwen3ForCausalLM

from recipes.rehearsal import task
from recipes.rehearsal.measure import measure
from recipes.rehearsal.model import new_model, random_qwen3, save_model, small_qwen3_config
from recipes.rehearsal.real_rows import Row, read_rows, split_rows
from recipes.rehearsal.shipped import load_shipped, shipped_facts
from recipes.rehearsal.tokenizer import build_qwen3_tokenizer, build_small_tokenizer
from recipes.rehearsal.training import TrainingBudget, train
from verl_egrsd.output.files import write_completed
from verl_egrsd.processes import ended_by_signals

MEASURED_ROWS = 256
"""Held-out problems that the accuracy in `rehearsal.json` is measured on."""


@dataclass(frozen=True)
class BuildSettings:
    """What a build depends on.

    Attributes:
        vocabulary: "small" (generated sums, trained model) or "qwen3" (real problems, random model).
        seed: seed of rows, weights and sampling.
        train_rows: rows of `train.parquet`.
        validation_rows: rows of `validation.parquet`.
        steps: training steps of the small model.
        roles: how student and teacher of the small model reason: a name in `task.ROLES`.
        data: files with real problems, for "qwen3"; none takes the word problems of this folder.
        retrain: train the small model also where its weights come with the checkout.
    """

    vocabulary: str = "small"
    seed: int = 0
    train_rows: int = 2048
    validation_rows: int = 128
    steps: int = TrainingBudget.steps
    roles: str = "rehearsal"
    data: tuple[str, ...] = ()
    retrain: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range, naming key, value and remedy."""
        if self.vocabulary not in ("small", "qwen3"):
            raise ValueError(f"--vocabulary {self.vocabulary} is unknown: choose small or qwen3.")
        if self.roles not in task.ROLES:
            raise ValueError(f"--roles {self.roles} is unknown: choose one of {', '.join(task.ROLES)}.")
        for key in ("train_rows", "validation_rows", "steps"):
            if getattr(self, key) <= 0:
                raise ValueError(
                    f"--{key.replace('_', '-')} {getattr(self, key)} is not allowed: it must be positive."
                )
        if self.data and self.vocabulary == "small":
            raise ValueError(
                "--data holds real problems, which the small vocabulary cannot spell: add --vocabulary qwen3."
            )


def build(out: str | Path, settings: BuildSettings) -> dict[str, Any]:
    """Build into a folder unless it holds the same build already; return what `rehearsal.json` says."""
    folder = Path(out)
    record = folder / "rehearsal.json"
    wanted = _described(settings)
    if record.exists():
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["settings"] == wanted:
            print(f"{folder} holds this rehearsal already; delete it to build it anew.")
            return found
        record.unlink()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    facts = (_build_small if settings.vocabulary == "small" else _build_qwen3)(folder, settings)
    summary = {"settings": wanted, "versions": _versions(), **facts}
    # Written last: without it an interrupted build starts over.
    write_completed(record, json.dumps(summary, indent=2) + "\n")
    print(f"{folder} is ready.")
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 when the folder is ready, 1 when the build failed, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.rehearsal.build", description=_first_line(__doc__)
    )
    default = BuildSettings()
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--vocabulary", default=default.vocabulary, choices=("small", "qwen3"))
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--train-rows", type=int, default=default.train_rows)
    parser.add_argument("--validation-rows", type=int, default=default.validation_rows)
    parser.add_argument(
        "--steps", type=int, default=default.steps, help="training steps of the small model (%(default)s)"
    )
    parser.add_argument("--roles", default=default.roles, choices=task.ROLES, help="(%(default)s)")
    parser.add_argument("--retrain", action="store_true", help="train the weights that are shipped too")
    parser.add_argument(
        "--data", nargs="+", default=(), metavar="FILE", help=".jsonl or .parquet files, for qwen3"
    )
    given = vars(parser.parse_args(arguments))
    out = given.pop("out")
    try:
        settings = BuildSettings(**given | {"data": tuple(given["data"])})
    except ValueError as error:
        parser.error(str(error))
    try:
        with ended_by_signals("rehearsal.build"):
            build(out, settings)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _build_small(folder: Path, settings: BuildSettings) -> dict[str, Any]:
    problems = task.generate_problems("train", settings.train_rows, settings.seed)
    rng = random.Random(f"{settings.seed}/wrong")
    for name, shown in (
        ("train", problems),
        # For the control whose teacher is misled.
        ("train_wrong", [task.with_wrong_solution(problem, rng) for problem in problems]),
    ):
        rows = [task.to_row(problem, i, "train") for i, problem in enumerate(shown)]
        _write_rows(rows, folder / "data" / f"{name}.parquet")
    held_out = task.generate_rows("validation", settings.validation_rows, settings.seed)
    _write_rows(held_out, folder / "data" / "validation.parquet")
    tokenizer = build_small_tokenizer(folder / "model")
    model = new_model(small_qwen3_config(len(tokenizer)), settings.seed)
    facts = None if settings.retrain else shipped_facts(_described(settings))
    if facts is None:
        facts = _train_small(model, tokenizer, settings)
    else:
        load_shipped(model, settings.roles)
    save_model(model, tokenizer, folder / "model")
    return facts


def _train_small(model: Qwen3ForCausalLM, tokenizer: Any, settings: BuildSettings) -> dict[str, Any]:
    begin = time.monotonic()
    losses = train(
        model, tokenizer, task.ROLES[settings.roles], TrainingBudget(steps=settings.steps), settings.seed
    )
    seconds = time.monotonic() - begin
    held_out = task.generate_rows("validation", MEASURED_ROWS, settings.seed)
    return {
        "parameters": model.num_parameters(),
        "training": {"seconds": round(seconds, 1), "steps": len(losses), "final_loss": losses[-1]},
        "before_training": {"problems": MEASURED_ROWS, **measure(model, tokenizer, held_out, settings.seed)},
    }


def _build_qwen3(folder: Path, settings: BuildSettings) -> dict[str, Any]:
    rows = split_rows(read_rows(settings.data), settings.train_rows, settings.validation_rows, settings.seed)
    for split, chosen in zip(("train", "validation"), rows, strict=True):
        _write_rows(chosen, folder / "data" / f"{split}.parquet")
    model = random_qwen3(folder / "model", build_qwen3_tokenizer(folder / "model"), settings.seed)
    return {
        "parameters": model.num_parameters(),
        "rows": dict(zip(("train", "validation"), map(len, rows), strict=True)),
    }


def _described(settings: BuildSettings) -> dict[str, Any]:
    """Return the settings as `rehearsal.json` holds them, with what the roles mean today."""
    described = asdict(settings) | {"manners": asdict(task.ROLES[settings.roles])}
    return json.loads(json.dumps(described))


def _write_rows(rows: list[Row], path: Path) -> None:
    pd.DataFrame(rows).to_parquet(path, index=False)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "tokenizers")}


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
