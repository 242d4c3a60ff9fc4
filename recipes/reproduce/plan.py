"""What a reproduction measures: model, arms, seeds, protocol, and the folders of its results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from verl_egrsd.output.files import write_completed

PLAN_FILE = "plan.json"
BASE = "base"
"""Name of the evaluation of the model before training."""
SFT = "sft"
GPU, CPU = "gpu", "cpu"
HARDWARE = {GPU: 8, CPU: 0, "gpu1": 1, "gpu4": 4, "gpu8": 8, "gpu8_40g": 8, "multinode": 8}
"""Values of HARDWARE and their GPUs per node; `gpu` lets the recipes choose the preset by GPUS and NNODES."""
ARMS = {
    "sft": ("SFT", "SFT"),
    "grpo": ("GRPO", "GRPO"),
    "opsd": ("OPSD", "OPSD"),
    "crisp": ("CRISP", "CRISP"),
    "direction": ("direction only", None),
    "rlsd": ("RLSD (gate off)", None),
    "egrsd": ("EGRSD", "EGRSD"),
    "cl_egrsd": ("CL-EGRSD", "CL-EGRSD"),
}
"""Arms by name: the title in tables, and the row of the paper's table."""
WEIGHTS = {"qwen3_4b": "Qwen/Qwen3-4B", "qwen3_8b": "Qwen/Qwen3-8B"}
"""Models of the paper: their weights on the hub."""
SOURCE = "siyanzhao/Openthoughts_math_30k_opsd"
REHEARSAL = Path(".cache/rehearsal/small")
"""Model and problems of a reproduction on the CPU."""
SMALL_BENCHMARKS = {"sums_first": 64, "sums_second": 64}
"""Benchmarks of a reproduction on the CPU, and the number of their problems."""
_FIXED = {
    **{"model": "model", "hardware": "HARDWARE", "weights": "MODEL", "protocol": "PROTOCOL"},
    **{"steps": "STEPS", "checkpoints": "CHECKPOINTS", "problems": "PROBLEMS", "source": "SOURCE"},
}
"""Settings that all parts of a reproduction share, and their variables; arms and seeds may be added."""
_MADE = ("benchmarks", "data", "runs", "evaluations")
"""Folders of results. Before there is one, a setting may still change."""


@dataclass(frozen=True)
class Plan:
    """One reproduction.

    Attributes:
        model: `qwen3_4b` or `qwen3_8b`; decides recipes and published results.
        weights: folder or hub id of the model.
        hardware: one of `HARDWARE`; on the CPU the small model of the rehearsal takes the model's place.
        arms: what is trained, keys of :data:`ARMS`.
        seeds: trainings of each arm.
        protocol: preset of `verl-egrsd eval`.
        steps: updates of each training.
        checkpoints: steps whose checkpoints are evaluated too; the last step is evaluated in any case.
        problems: first problems of each benchmark; None takes all.
        source: data set that the training rows are prepared from.
        gpus: GPUs of each node, as a text.
        nodes: number of nodes.
        out: folder of all results.
    """

    model: str
    weights: str
    hardware: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    protocol: str
    steps: int
    checkpoints: tuple[int, ...]
    problems: int | None
    source: str
    gpus: str
    nodes: int
    out: Path

    def __post_init__(self) -> None:
        """Refuse values that no run can have, naming the variable and the remedy."""
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            raise ValueError(f"ARMS: {unknown[0]!r} is unknown; known arms: {' '.join(ARMS)}.")
        if not self.arms or not self.seeds:
            raise ValueError("ARMS and SEEDS must name at least one arm and one seed.")
        for name, values in (("ARMS", self.arms), ("SEEDS", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}={' '.join(map(str, values))} names one twice: name each once.")
        counts = [self.steps, self.nodes, 1 if self.problems is None else self.problems]
        counts += [] if self.on_cpu else [int(self.gpus)]
        if min(counts) < 1 or min(self.seeds) < 0:
            raise ValueError("STEPS, PROBLEMS, GPUS and NNODES must be at least 1, and SEEDS 0 or more.")
        if any(step < 1 or step > self.steps for step in self.checkpoints):
            raise ValueError(f"CHECKPOINTS must be steps from 1 to STEPS={self.steps}.")

    @property
    def on_cpu(self) -> bool:
        """Whether the small model is trained on the CPU."""
        return self.hardware == CPU

    def gpus_of(self, arm: str) -> int:
        """Return the GPUs that the training of an arm keeps busy; supervised training runs on one node."""
        return int(self.gpus) * (1 if arm == SFT else self.nodes)

    @property
    def runs(self) -> list[Trained]:
        """Trainings, one seed of all arms after another."""
        return [Trained(self, arm, seed) for seed in self.seeds for arm in self.arms]

    def require_same_settings(self) -> None:
        """Refuse a folder with results of other settings.

        Raises:
            ValueError: naming the variable.
        """
        if not any((self.out / name).exists() for name in _MADE):
            return
        then, now = self._recorded(), self._settings()
        for key, variable in _FIXED.items():
            if then.get(key, now[key]) != now[key]:
                raise ValueError(
                    f"{self.out} holds a reproduction with {variable}={_shown(then[key])}, not "
                    f"{_shown(now[key])}: use the same value, or choose another folder (OUT)."
                )

    def record(self) -> None:
        """Write the plan into its folder, beside arms and seeds of earlier parts; errors as above."""
        self.require_same_settings()
        then, now = self._recorded(), self._settings()
        now["arms"] = sorted({*then.get("arms", ()), *now["arms"]}, key=[*ARMS].index)
        now["seeds"] = sorted({*then.get("seeds", ()), *now["seeds"]})
        write_completed(self.out / PLAN_FILE, json.dumps(now, indent=1) + "\n")

    def _settings(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self), default=str))

    def _recorded(self) -> dict[str, Any]:
        file = self.out / PLAN_FILE
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def evaluation(self, name: str) -> Path:
        """Folder of an evaluation."""
        return self.out / "evaluations" / name


@dataclass(frozen=True)
class Trained:
    """One training: an arm and a seed."""

    plan: Plan
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arm}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Folder of its report."""
        return self.plan.out / "runs" / self.name

    @property
    def exported(self) -> Path:
        """Folder of the model that it gave."""
        return self.plan.out / "models" / self.name

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint of a step."""
        return self.folder / "checkpoints" / f"global_step_{step}"

    def evaluations(self) -> dict[str, int]:
        """Return the steps that are evaluated, by the name of the evaluation; the last has the run's own."""
        steps = sorted({*self.plan.checkpoints, self.plan.steps})
        return {self.name if step == steps[-1] else f"{self.name}-step{step}": step for step in steps}


def _shown(value: Any) -> str:
    """Return a setting as a variable holds it."""
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value or "all")


def read_plan(out: Path) -> Plan:
    """Return the plan of a folder, with the arms and seeds of all its parts."""
    found = json.loads((out / PLAN_FILE).read_text(encoding="utf-8"))
    lists: dict[str, Sequence] = {key: tuple(found[key]) for key in ("arms", "seeds", "checkpoints")}
    return Plan(**found | lists | {"out": out})
