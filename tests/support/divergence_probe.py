"""Update a student on divergences with the real worker, without Ray; write down gradients, and plain ones.

Usage: python divergence_probe.py MODEL OUTPUT, with the checkout on PYTHONPATH. The plain gradients are those
of autograd through the full logits of the same engine.
"""

from __future__ import annotations

import math
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, NamedTuple

from tests.support.worker_probe import ENGINES, Rows, _untied, _worker, rendezvous

# isort: split
import torch
from tensordict import TensorDict
from torch import Tensor
from torch import multiprocessing as processes
from verl.utils import tensordict_utils as tu

from verl_egrsd.methods import Distillation
from verl_egrsd.teacher.refresh import trained_shards
from verl_egrsd.teacher.steering import STEERING_PROMPTS
from verl_egrsd.trainer.queue import jagged
from verl_egrsd.trainer.worker import TeacherWorker

RANKS = 2
LENGTHS = ((9, 14, 5, 11), (31, 25, 40, 28), (12, 1, 17, 8))
"""Tokens of prompts, privileged prompts and responses, of one rank."""
FIRST = 9
TEMPERATURE = 1.2
"""Of the rollouts."""
STRENGTH = 2.0
"""Of the steering."""
FORWARD, REVERSE = Distillation(clip=0.02, temperature=1.3), Distillation("reverse", first_tokens=FIRST)
JSD = Distillation("jsd", beta=0.3, temperature=1.3, weight=0.7)
"""With a policy term beside it, whose temperature is that of the rollouts."""


class Case(NamedTuple):
    """An engine of `worker_probe`, with a head of its own or not, divergences, and further keys."""

    engine: str
    untied: bool
    divergences: tuple[Distillation, ...]
    keys: tuple[str, ...] = ()


TIGHT = "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=48"
CHECKPOINTING = "actor_rollout_ref.model.enable_gradient_checkpointing=true"
FUSED = "actor_rollout_ref.model.use_fused_kernels"
PACKED = "actor_rollout_ref.model.use_remove_padding=true"
"""As on a GPU; on a CPU torch's own attention keeps packed rows apart."""
CASES = {
    "lora": Case("lora", False, (FORWARD, REVERSE), (TIGHT, f"{FUSED}=false")),
    "full": Case("full", False, (FORWARD, REVERSE), (TIGHT, CHECKPOINTING, f"{FUSED}=true")),
    "lora, untied": Case("lora", True, (FORWARD, REVERSE), (CHECKPOINTING,)),
    "lora, untied, packed": Case("lora", True, (FORWARD, REVERSE), (CHECKPOINTING, PACKED)),
    "full, untied": Case("full", True, (FORWARD, REVERSE), (f"{FUSED}=true",)),
    "lora, moving": Case("lora", False, (FORWARD, JSD), ("actor_rollout_ref.teacher.refresh=ema",)),
    "full, current": Case("full", False, (REVERSE,), ("actor_rollout_ref.teacher.refresh=current",)),
}
ON_TWO_RANKS = ("lora", "full", "full, untied")
ON_ONE_RANK = tuple(name for name in CASES if name != "lora")


class Batch(NamedTuple):
    """Rows of one rank: the last one is a padding row, which has no credit."""

    prompts: Rows
    privileged: Rows
    responses: Rows
    credit: Rows
    policy: Rows
    mask: Rows


def main(model: str, output: str) -> None:
    """Probe on two ranks, then on one."""
    _untied(model, f"{output}.untied")
    # First: a process that has computed cannot be forked.
    processes.start_processes(_rank, (model, output), nprocs=RANKS, start_method="fork")
    rendezvous(output)
    found = {name: _probe(model, output, CASES[name]) for name in ON_ONE_RANK}
    torch.save(found, output)


def _rank(rank: int, model: str, output: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": "0"}
    rendezvous(f"{output}.ranks")
    found = {name: _probe(model, output, CASES[name]) for name in ON_TWO_RANKS}
    torch.save(found, f"{output}.rank_{rank}")
    torch.distributed.destroy_process_group()


def _probe(model: str, output: str, case: Case) -> dict[str, Any]:
    path = f"{output}.untied" if case.untied else model
    role, rank = ENGINES[case.engine]
    current = any(key.endswith("refresh=current") for key in case.keys)
    worker = _worker(path, "actor" if current else role, rank, *case.keys)
    batch = _batch(torch.distributed.get_rank())
    found: dict[str, Any] = {}
    for settings in case.divergences:
        worker.use_divergence(asdict(settings), settings == FORWARD)
        if not found:
            found["same context"] = _update(worker, batch._replace(privileged=batch.prompts))
            found["steered"] = _steered(worker, batch)
            _move(worker)
        found[settings.kind] = _update(worker, batch), _plain(worker, batch, settings)
    return found


@torch.no_grad()
def _move(worker: TeacherWorker) -> None:
    """Change this rank's share of every weight that training would change."""
    draw = torch.Generator().manual_seed(7 + torch.distributed.get_rank())
    for shard in trained_shards(worker.actor.engine.module).values():
        shard.add_(0.02 * torch.randn(shard.shape, generator=draw))


def _batch(rank: int) -> Batch:
    draw = torch.Generator().manual_seed(rank)
    prompts, privileged, responses = (
        [torch.randint(0, 400, (n,), generator=draw) for n in lengths] for lengths in LENGTHS
    )
    credit, policy = ([torch.randn(len(row), generator=draw) for row in responses] for _ in range(2))
    mask = [torch.ones_like(row) for row in responses]
    for rows in (credit, policy, mask):
        rows[-1] = torch.zeros_like(rows[-1])
    return Batch(prompts, privileged, responses, credit, policy, mask)


def _update(worker: TeacherWorker, batch: Batch) -> dict[str, Any]:
    """Return gradients and metrics of an update, which stops before the optimiser's step."""
    settings: dict[str, Any] = {"columns": "teacher_hidden", "temperature": 1.0, "max_token_len_per_gpu": 64}
    columns: dict[str, Tensor] = {}
    if worker.keeps_student:
        settings["columns"] = "divergence,teacher_hidden"
        columns["student_hidden"] = _student_hidden(worker, batch)
    columns |= {"teacher_prompts": jagged(batch.privileged), "responses": jagged(batch.responses)}
    columns["response_mask"] = jagged(batch.mask)
    teacher = worker.compute_teacher_log_prob(tu.get_tensordict(columns, non_tensor_dict=settings))
    engine, found = worker.actor.engine, {}

    def optimizer_step() -> float:
        found["gradients"] = _gradients(engine)
        return 0.0

    engine.optimizer_step = optimizer_step
    update = _update_batch(batch, teacher)
    if worker.distillation == JSD:
        update["policy_credit"] = jagged(batch.policy)
    output = worker.update_actor(update)
    del engine.optimizer_step
    kept = {name: list(teacher[name].unbind()) for name in teacher.keys() & {"divergence", "teacher_hidden"}}
    return found | {"metrics": tu.get(output, "metrics"), **kept}


def _steered(worker: TeacherWorker, batch: Batch) -> tuple[Tensor, ...]:
    """Return the hidden states of a steered teacher, and those after each of its prompts alone."""
    prompts = (batch.prompts, batch.privileged, [row.flip(0) for row in batch.privileged])
    columns = dict(zip(("teacher_prompts", *STEERING_PROMPTS), map(jagged, prompts), strict=True))
    columns |= {"responses": jagged(batch.responses), "response_mask": jagged(batch.mask)}
    settings = {"columns": "teacher_hidden", "temperature": 1.0, "max_token_len_per_gpu": 64}

    def hidden(own: Tensor, strength: float) -> Tensor:
        rows = tu.get_tensordict(
            columns | {"teacher_prompts": own}, non_tensor_dict=settings | {"steering": strength}
        )
        return worker.compute_teacher_log_prob(rows)["teacher_hidden"].values()

    return hidden(columns["teacher_prompts"], STRENGTH), *(hidden(jagged(each), 0.0) for each in prompts)


def _student_hidden(worker: TeacherWorker, batch: Batch) -> Tensor:
    """Return what the pass for the student's scores keeps."""
    rows = _sequences(batch) | {"loss_mask": jagged(batch.mask)}
    settings = {"temperature": 1.0, "calculate_entropy": True, "compute_loss": False}
    scores = worker.compute_log_prob(tu.get_tensordict(rows, non_tensor_dict=settings))
    return scores["student_hidden"]


def _update_batch(batch: Batch, teacher: TensorDict) -> TensorDict:
    columns = {
        **_sequences(batch),
        "loss_mask": jagged(batch.mask),
        "response_mask": jagged(batch.mask),
        "advantages": jagged(batch.credit),
        "teacher_hidden": teacher["teacher_hidden"],
    }
    size = len(batch.prompts) * torch.distributed.get_world_size()
    settings = {"temperature": TEMPERATURE, "calculate_entropy": False, "mini_batch_size": size, "epochs": 1}
    settings |= {"global_batch_size": size, "seed": 1, "dataloader_kwargs": {"shuffle": False}}
    data: TensorDict = tu.get_tensordict(columns, non_tensor_dict=settings)
    return data


def _sequences(batch: Batch) -> dict[str, Tensor]:
    rows = [torch.cat(pair) for pair in zip(batch.prompts, batch.responses, strict=True)]
    return {"input_ids": jagged(rows), "position_ids": jagged([torch.arange(len(row)) for row in rows])}


def _plain(worker: TeacherWorker, batch: Batch, settings: Distillation) -> dict[str, Any]:
    """Return the same gradients by autograd through full logits, and the mean divergence."""
    engine, teacher = worker.actor.engine, worker.teacher.engine
    first = settings.first_tokens or max(map(len, batch.responses))
    tokens = torch.tensor(float(sum(int(mask[:first].sum()) for mask in batch.mask)))
    torch.distributed.all_reduce(tokens)
    found: list[Tensor] = []
    total, ranks = 0.0, torch.distributed.get_world_size()
    engine.optimizer_zero_grad()
    for prompt, privileged, response, credit, policy, mask in zip(*batch, strict=True):
        with (
            torch.no_grad(),
            worker.teacher_in_engine(),
            teacher.disable_adapter() if worker.adapter_off else nullcontext(),
        ):
            z = _log_probs(teacher, privileged, response, settings.temperature).clone()
        values = _divergence(_log_probs(engine, prompt, response, settings.temperature), z, settings)[:first]
        found.append(values.detach().clone())
        # The row counts with its mask, so that a padding row takes part in the backward pass of all ranks.
        loss = settings.weight * (values * credit[:first] * mask[:first]).sum()
        if settings == JSD:
            scores = _log_probs(engine, prompt, response, TEMPERATURE)
            loss = loss - (policy * scores.gather(1, response[:, None])[:, 0]).sum()
        loss.mul(ranks / tokens).backward()
        total += float((values.detach() * mask[:first]).sum() / tokens)
    gradients = _gradients(engine)
    engine.optimizer_zero_grad()
    return {"gradients": gradients, "mean": total, "divergence": found}


def _log_probs(engine: Any, prompt: Tensor, response: Tensor, temperature: float) -> Tensor:
    row = torch.cat([prompt, response])[None]
    positions = torch.arange(row.shape[1])[None]
    with engine.own_forward():
        logits = engine.module(input_ids=row, position_ids=positions, use_cache=False).logits
    return (logits[0, len(prompt) - 1 : -1] / temperature).log_softmax(-1)


def _divergence(s: Tensor, t: Tensor, settings: Distillation) -> Tensor:
    """Return D of each row from log-probs of student and teacher, (tokens, vocabulary)."""
    if settings.kind == "forward":
        shares = t.exp() * (t - s)
    elif settings.kind == "reverse":
        shares = s.exp() * (s - t)
    else:
        beta = settings.beta
        mix = torch.logaddexp(t + math.log(beta), s + math.log(1 - beta))
        shares = beta * t.exp() * (t - mix) + (1 - beta) * s.exp() * (s - mix)
    return shares.clamp(max=settings.clip or math.inf).sum(-1)


def _gradients(engine: Any) -> dict[str, Tensor]:
    named = engine.module.named_parameters()
    return {name: p.grad.full_tensor().clone() for name, p in named if p.grad is not None}


if __name__ == "__main__":
    main(*sys.argv[1:])
