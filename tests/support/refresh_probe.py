"""Run the teacher's worker alone, without Ray, with every kind of teacher, and write down what it scores.

Usage: python refresh_probe.py MODEL OUTPUT, with the checkout on PYTHONPATH.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.support.resume_probe import train_and_resume
from tests.support.worker_probe import ENGINES, ROOMY, Rows, _move, _stock, _teacher, _worker, rendezvous

# isort: split
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from verl_egrsd.trainer.worker import TeacherWorker

KINDS = {
    "lora current": ("lora", "current", False),
    "lora ema": ("lora", "ema", False),
    "lora frozen, from an adapter": ("lora", "frozen", True),
    "full current": ("full", "current", False),
    "full ema": ("full", "ema", False),
}
"""Engine, `teacher.refresh`, and whether training starts from an adapter."""
DECAY = 0.5


def main(model: str, output: str) -> None:
    """Train on two ranks, then probe one worker of each kind in this process."""
    folder = Path(f"{output}.runs")
    folder.mkdir()
    train_and_resume(model, str(folder))  # first: a process that has computed cannot be forked
    rendezvous(output)
    adapter = _adapter(model, f"{output}.adapter")
    generator = torch.Generator().manual_seed(0)
    prompts, privileged, responses = (
        [torch.randint(0, 400, (length,), generator=generator) for length in lengths]
        for lengths in ((9, 14), (31, 25), (12, 7))
    )
    results = {}
    for name, (engine, refresh, from_adapter) in KINDS.items():
        role, rank = ENGINES[engine]
        start = (f"actor_rollout_ref.model.lora_adapter_path={adapter}",) if from_adapter else ()
        # As the trainer has it: a teacher that is the student needs no reference engine.
        role = "actor" if refresh == "current" else role
        worker = _worker(model, role, rank, f"actor_rollout_ref.teacher.refresh={refresh}", *start)
        results[name] = _probe(worker, f"{output}.{name}", prompts, privileged, responses)
    torch.save(results, output)


def _probe(
    worker: TeacherWorker, folder: str, prompts: Rows, privileged: Rows, responses: Rows
) -> dict[str, Any]:
    """Score before and after an update, between two moves of a teacher that can move, and after a reload."""

    def student() -> torch.Tensor:
        return torch.cat(_stock(worker.compute_log_prob, prompts, responses))

    def teacher(contexts: Rows = privileged) -> torch.Tensor:
        return torch.cat(_teacher(worker, contexts, responses, ROOMY)["teacher_log_prob"])

    found: dict[str, Any] = {"student": student(), "teacher of the same prompt": teacher(prompts)}
    found["start"] = teacher()
    _move(worker)
    found |= {"student moved": student(), "after the update": teacher(), "student again": student()}
    found["shown the same"] = teacher(prompts)
    if worker.config.teacher.refresh == "ema":
        found["metrics"] = worker.refresh_teacher(DECAY)
        found["followed"] = teacher()
        worker.save_teacher(folder)
        found["copied metrics"] = worker.refresh_teacher(0.0)
        found["copied"] = teacher(prompts)
        worker.load_teacher(folder)
        found["loaded"] = teacher()
        found["student at last"] = student()
        found["files"] = sorted(path.name for path in Path(folder).iterdir())
    return found


def _adapter(model: str, folder: str) -> str:
    """Write an adapter that changes the model."""
    torch.manual_seed(1)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=8, lora_alpha=16, target_modules=names, task_type="CAUSAL_LM")
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), config)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    wrapped.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main(*sys.argv[1:])
