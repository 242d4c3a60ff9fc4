"""The command that trains a run, and whether it has been trained."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.cpu import CPU_TRAINING
from recipes.reproduce.plan import GPU, SFT, Plan, Trained
from recipes.reproduce.valid import lines_of

if TYPE_CHECKING:
    from verl_egrsd.checkpoints.whole import Needed

STEPS_FILE = "report.jsonl"
"""The report's metrics by step (verl_egrsd.report.run, whose imports take seconds)."""

VERL, SUPERVISED = "verl_egrsd.main", "verl_egrsd.sft.main"
SAVE_STEPS = 25
"""Most updates between two checkpoints, as in the recipes."""


def untrained(run: Trained) -> str | None:
    """Say which checkpoint of a run is missing or not whole; None when it is trained."""
    absent = [path for path in map(run.checkpoint, run.evaluations().values()) if not path.exists()]
    if absent:
        return f"{absent[0]} is not there"
    # After the quick answer: the import takes seconds.
    from verl_egrsd.checkpoints.whole import damage

    broken = (damage(run.checkpoint(step), _needed(run)) for step in run.evaluations().values())
    return next(filter(None, broken), None)


def trained_steps(run: Trained) -> int:
    """Return the number of steps in the report of a run."""
    file = run.folder / STEPS_FILE
    return min(run.plan.steps, lines_of(file))


def training(run: Trained, *, check: bool = False) -> tuple[list[str], dict[str, str]]:
    """Return the command that trains a run, or goes on with it, and its environment variables.

    Args:
        run: arm and seed.
        check: only say what the training would fail on.
    """
    resume = "latest-whole" if _begun(run) else "disable"
    keys = [f"trainer.save_freq={save_steps(run.plan)}"]
    if run.plan.on_cpu:
        keys += ["dry_run=true"] if check else []
        return [*_on_cpu(run, resume), *keys], CPU_TRAINING | _metrics(run)
    environment = {
        "PYTHON": sys.executable,
        "OUTPUT": str(run.folder),
        "MODEL_PATH": run.plan.weights,
        "SEED": str(run.seed),
        "STEPS": str(run.plan.steps),
        "GPUS": run.plan.gpus,
        "RESUME": resume,
        **{name: str(file) for name, file in zip(("TRAIN_FILE", "VAL_FILE"), _rows(run.plan), strict=True)},
    }
    if check:
        environment["CHECK"] = "1"
    # Supervised training runs on one node, and no setting of it depends on the memory of a GPU.
    if run.arm != SFT:
        environment["NNODES"] = str(run.plan.nodes)
        environment |= {} if run.plan.hardware == GPU else {"HARDWARE": run.plan.hardware}
    return ["bash", f"recipes/{run.arm}_{run.plan.model}.sh", *keys], environment


def save_steps(plan: Plan) -> int:
    """Return the number of updates between two checkpoints."""
    return min(math.gcd(SAVE_STEPS, *plan.checkpoints), plan.steps)


def _on_cpu(run: Trained, resume: str) -> list[str]:
    train, validation = _rows(run.plan)
    supervised = run.arm == SFT
    seeds = ("trainer.seed",) if supervised else ("data.seed", "actor_rollout_ref.rollout.seed")
    return [
        *(sys.executable, "-m", SUPERVISED if supervised else VERL, f"preset={run.arm}"),
        *("base=tiny" if supervised else "model=tiny", "hardware=cpu"),
        *(_text("data.train_files", train), _text("data.val_files", validation)),
        _text("trainer.default_local_dir", run.folder.absolute() / "checkpoints"),
        *(_text("report.folder", run.folder.absolute()), f"trainer.experiment_name={run.name}"),
        *(f"{key}={run.seed}" for key in seeds),
        *(f"trainer.total_training_steps={run.plan.steps}", f"trainer.resume_mode={resume}"),
        *("trainer.test_freq=-1", "trainer.logger=[console,file]"),
        *(() if supervised else ("trainer.val_before_train=false",)),
    ]


def _rows(plan: Plan) -> tuple[Path, Path]:
    folder = plan.out.absolute() / "data"
    return folder / "train.parquet", folder / "validation.parquet"


def _metrics(run: Trained) -> dict[str, str]:
    return {"VERL_FILE_LOGGER_PATH": str(run.folder.absolute() / "metrics.jsonl")}


def _begun(run: Trained) -> bool:
    """Return whether there is a whole checkpoint to go on from."""
    folder = run.folder / "checkpoints"
    if not folder.exists():
        return False
    from verl_egrsd.checkpoints.whole import newest_whole

    return newest_whole(folder, _needed(run)) is not None


def _needed(run: Trained) -> Needed:
    from verl_egrsd.checkpoints.whole import Needed

    return Needed(of_all_ranks=False, supervised=run.arm == SFT)


def _text(key: str, value: Path) -> str:
    """Return a Hydra override whose value may hold blanks, commas and equal signs."""
    quoted = str(value).replace("'", "\\'")
    return f"{key}='{quoted}'"
