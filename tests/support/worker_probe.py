"""Run the teacher's worker alone, without Ray, and write down what it scores.

Usage: python worker_probe.py MODEL OUTPUT, with the checkout on PYTHONPATH. verl fixes its platform when it
is imported, so this is a process of its own.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from unittest.mock import patch

os.environ |= {"VERL_PLATFORM": "cpu", "VERL_USE_EXTERNAL_MODULES": "tests.support.scripted_rollout"}
os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}

import torch
from peft import get_peft_model
from tensordict import TensorDict
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.utils import tensordict_utils as tu
from verl.workers.utils.padding import response_from_nested

from tests.support.composing import composed
from verl_egrsd.scoring.scorer import score_tokens
from verl_egrsd.trainer import response_head
from verl_egrsd.trainer.queue import jagged
from verl_egrsd.trainer.worker import TeacherWorker

TEMPERATURE = 1.3
ROOMY, TIGHT = 2048, 64
"""Tokens per micro-batch: the engine's own setting (all rows together), and one that splits the batch."""
ENGINES = {"lora": ("actor", 8), "full": ("actor_rollout_ref", 0)}
"""Role and LoRA rank: the teacher is the actor without its adapter, or the reference engine."""

Rows = list[torch.Tensor]


def main(model: str, output: str) -> None:
    """Probe both kinds of teacher, then one whose engine computes in bf16."""
    rendezvous(output)
    generator = torch.Generator().manual_seed(0)
    prompts, privileged, responses = (
        [torch.randint(0, 400, (length,), generator=generator) for length in lengths]
        for lengths in ((9, 14, 5, 11), (31, 25, 40, 28), (12, 1, 17, 8))
    )
    results: dict[str, Any] = {"temperature": TEMPERATURE, "privileged": privileged, "responses": responses}
    for name, (role, rank) in ENGINES.items():
        results[name] = _probe(_worker(model, role, rank), prompts, privileged, responses)
    worker = _worker(_untied(model, f"{output}.untied"), *ENGINES["full"])
    untied = _probe(worker, prompts, privileged, responses) | {"gradients": _head_gradients(worker)}
    results["untied"] = {name: untied[name] for name in ("privileged", "all_rows", "stream", "gradients")}
    adapter = ("actor_rollout_ref.model.lora.merge=false", "actor_rollout_ref.rollout.dtype=bfloat16")
    results["adapter"] = _adapter(_worker(model, *ENGINES["lora"], *adapter))
    precision = "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype"
    bf16 = _worker(model, *ENGINES["lora"], f"{precision}=bf16")
    results["wrong kernel"] = _found_with_a_wrong_kernel(bf16)
    results["bf16"] = _teacher(bf16, privileged, responses, ROOMY)
    bf16.kernel = None
    try:
        _teacher(bf16, privileged, responses, ROOMY)
    except TypeError as refusal:
        results["refusal"] = str(refusal)
    torch.save(results, output)


def rendezvous(output: str) -> None:
    """Let the one rank meet itself at a file, so that no port is taken."""
    os.environ["DIST_INIT_METHOD"] = f"file://{output}.rendezvous"


def _untied(model: str, folder: str) -> str:
    """Write the model with a head of its own, which verl shards on its own."""
    AutoModelForCausalLM.from_pretrained(model, tie_word_embeddings=False).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def _probe(worker: TeacherWorker, prompts: Rows, privileged: Rows, responses: Rows) -> dict[str, Any]:
    results: dict[str, Any] = {
        "same": _teacher(worker, prompts, responses, ROOMY),
        "same_split": _teacher(worker, prompts, responses, TIGHT),
        "student": _stock(worker.compute_log_prob, prompts, responses),
    }
    batch, results["rows"] = worker._teacher_batch, []
    kernel, worker.kernel = worker.kernel, _counting(worker.kernel, results["rows"])
    worker._teacher_batch = lambda data: _keeping(batch(data), results)
    results["privileged"] = _teacher(worker, privileged, responses, ROOMY)
    worker.kernel = None
    results["all_rows"] = _teacher(worker, privileged, responses, ROOMY)
    worker.kernel = kernel
    _move(worker)
    results["student_moved"] = _stock(worker.compute_log_prob, prompts, responses)
    results["privileged_moved"] = _teacher(worker, privileged, responses, ROOMY)
    results["stream"] = _stream(worker)
    return results


@torch.no_grad()
def _stream(worker: TeacherWorker) -> dict[str, Any]:
    """Return what the rollout engine would get, and what peft makes of the same weights."""
    engine = worker.actor.engine
    weights, _ = engine.get_per_tensor_param(base_sync_done=True)
    streamed = {name: weight.clone() for name, weight in weights}
    own = {name: weight.full_tensor() for name, weight in engine.module.state_dict().items()}
    model = AutoModelForCausalLM.from_pretrained(worker.config.model.path, dtype=torch.float32)
    if worker.config.model.lora_rank:
        model = get_peft_model(model, engine.module.peft_config["default"])
    model.load_state_dict(own)
    expected = (model.merge_and_unload() if worker.config.model.lora_rank else model).state_dict()
    return {"weights": streamed, "expected": expected, "metrics": worker.sync_metrics()}


def _head_gradients(worker: TeacherWorker) -> dict[str, list[torch.Tensor]]:
    """Return the gradient of an untied head from verl's fused head and from the model's own, step by step."""
    engine = worker.actor.engine
    ids = torch.arange(5, 45)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    found: dict[str, list[torch.Tensor]] = {"fused": [], "own": []}
    for _ in range(2):
        for name, gradients in found.items():
            with engine.train_mode():
                if name == "fused":
                    log_probs = engine.module(**inputs, temperature=1.0, return_dict=True).log_probs[:, :-1]
                else:
                    with engine.own_forward():
                        logits = engine.module(**inputs).logits[:, :-1]
                    log_probs = logits.log_softmax(dim=-1).gather(2, ids[:, 1:, None])
                log_probs.sum().backward()
                gradients.append(engine.module.lm_head.weight.grad.full_tensor().clone())
        _move(worker)  # as an update does: a head that was gathered before is old now
    return found


def _adapter(worker: TeacherWorker) -> dict[str, Any]:
    _move(worker)
    weights, peft_config = worker.actor.engine.get_per_tensor_param(base_sync_done=True)
    return {"names": [n for n, _ in weights], "rank": peft_config["r"], "metrics": worker.sync_metrics()}


def _found_with_a_wrong_kernel(worker: TeacherWorker) -> Any:
    """Return what the worker finds where the one candidate leaves out the last eighth of the vocabulary."""

    def wrong(hidden: torch.Tensor, weight: torch.Tensor, token_ids: torch.Tensor, **options: Any) -> Any:
        known = len(weight) * 7 // 8
        return score_tokens(hidden, weight[:known], token_ids.clamp(max=known - 1), **options)

    with patch.object(response_head, "candidates", lambda device, biased: {"blocks of torch": wrong}):
        return response_head.find_kernel(worker.teacher)


def _counting(kernel: Any, rows: list[int]) -> Any:
    """Return the kernel, which now writes down how many rows it is given."""
    return lambda hidden, *head, **options: rows.append(len(hidden)) or kernel(hidden, *head, **options)


def _keeping(batch: TensorDict, results: dict[str, Any]) -> TensorDict:
    results["input_ids"] = list(batch["input_ids"].clone().unbind())
    return batch


def _worker(model: str, role: str, lora_rank: int, *overrides: str) -> TeacherWorker:
    names = ("+preset=egrsd", "+model=tiny", "+hardware=cpu", "actor_rollout_ref.rollout.name=scripted")
    keys = (f"actor_rollout_ref.model.path={model}", f"actor_rollout_ref.model.lora_rank={lora_rank}")
    config = composed(*names, *keys, *overrides)
    torch.manual_seed(0)  # of the adapter's start
    worker = TeacherWorker(config=config.actor_rollout_ref, role=role)
    worker.init_model()
    return worker


def _teacher(worker: TeacherWorker, prompts: Rows, responses: Rows, tokens: int) -> dict[str, Rows]:
    columns = {"teacher_prompts": jagged(prompts), "responses": jagged(responses)}
    columns["response_mask"] = _mask(responses)
    read = ("teacher_log_prob", "teacher_entropy")
    settings = {"columns": ",".join(read), "temperature": TEMPERATURE, "max_token_len_per_gpu": tokens}
    output = worker.compute_teacher_log_prob(tu.get_tensordict(columns, non_tensor_dict=settings))
    return {name: list(output[name].unbind()) for name in read}


def _stock(method: Any, prompts: Rows, responses: Rows, **settings: Any) -> Rows:
    """Score as verl's trainer does."""
    rows = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    columns = {"input_ids": jagged(rows), "position_ids": jagged([torch.arange(len(row)) for row in rows])}
    mask = _mask(responses)
    settings |= {"temperature": TEMPERATURE, "calculate_entropy": True, "compute_loss": False}
    data: TensorDict = tu.get_tensordict(columns | {"loss_mask": mask}, non_tensor_dict=settings)
    return list(response_from_nested(method(data)["log_probs"], mask).unbind())


def _mask(responses: Rows) -> torch.Tensor:
    return jagged([torch.ones_like(row) for row in responses])


@torch.no_grad()
def _move(worker: TeacherWorker) -> None:
    """Change every weight that training would change."""
    for parameter in worker.actor.engine.module.parameters():
        if parameter.requires_grad:
            parameter.add_(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
