"""Supervised training of the small model from scratch, half of the tokens as student, half as teacher.

One set of weights learns both roles, as a large model has them from its own training: with the plain prompt
it reasons at length and slips now and then; shown the reference it follows it. The prompts are rendered by
the package itself, so they are exactly those of the later run.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from tqdm import tqdm
from transformers import Qwen3ForCausalLM

from recipes.rehearsal import task
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.templates import get_template

IGNORED = -100
"""Label of the positions that do not count: prompt and padding."""
THINKING = {"enable_thinking": True}
"""Chat template arguments of both sides: the small model always thinks."""


@dataclass(frozen=True)
class TrainingBudget:
    """How long and how fast the small model is trained.

    Attributes:
        steps: a number and no time limit, so that a busy machine makes the same model, and makes it later.
        students: plain examples per step.
        teachers: privileged examples per step; half as many, since they have twice the tokens.
        learning_rate: peak rate, reached after 25 steps, followed by a cosine to zero.
    """

    steps: int = 750
    students: int = 8
    teachers: int = 4
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse a budget that allows no step."""
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"training budget {name}={value} allows no training: it must be positive.")


@dataclass(frozen=True)
class Example:
    """One supervised example, in tokens; only the response counts in the loss."""

    prompt_ids: list[int]
    response_ids: list[int]


class ExampleMaker:
    """Draws supervised examples of either role; held-out problems never occur."""

    def __init__(self, tokenizer: Any, roles: task.Roles, seed: int) -> None:
        self.roles = roles
        self.tokenizer, self.rng = tokenizer, random.Random(f"{seed}/examples")
        self.problems = task.problem_stream("train", self.rng)
        self.solution = privileged_context(tokenizer, "reference_solution")
        self.answer = privileged_context(tokenizer, "answer_only")

    def student(self) -> Example:
        """Return a plain prompt with verbose reasoning."""
        problem = next(self.problems)
        prompt = self.solution.student_prompt_ids(task.to_row(problem, 0, "train")["prompt"])
        return self._example(prompt, task.student_response(problem, self.roles, self.rng))

    def teacher(self) -> Example:
        """Return a privileged prompt with brief reasoning; one in six shows the answer alone."""
        problem = next(self.problems)
        row = task.to_row(problem, 0, "train")
        shows_solution = self.rng.random() < 5 / 6
        context = self.solution if shows_solution else self.answer
        order = problem.order if shows_solution else task.shuffled(problem.numbers, self.rng)
        prompt = context.teacher_prompt_ids(row["prompt"], row)
        return self._example(prompt, task.teacher_response(problem, order, self.roles, self.rng))

    def _example(self, prompt_ids: list[int], response: str) -> Example:
        response_ids = self.tokenizer(response, add_special_tokens=False)["input_ids"]
        return Example(prompt_ids, [*response_ids, self.tokenizer.eos_token_id])


def privileged_context(tokenizer: Any, template: str) -> PrivilegedContext:
    """Return the privileged context of the rehearsal: both sides think."""
    return PrivilegedContext(tokenizer, get_template(template), THINKING, THINKING)


def train(
    model: Qwen3ForCausalLM, tokenizer: Any, roles: task.Roles, budget: TrainingBudget, seed: int
) -> list[float]:
    """Train in place and return the loss of every step, in nats per response token."""
    maker = ExampleMaker(tokenizer, roles, seed)
    optimizers = _optimizers(model, budget.learning_rate)
    losses: list[float] = []
    model.train()
    for step in tqdm(range(budget.steps), desc="training the small model", unit="step"):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = budget.learning_rate * min(1.0, (step + 1) / 25) * _cosine(step / budget.steps)
        students = [maker.student() for _ in range(budget.students)]
        teachers = [maker.teacher() for _ in range(budget.teachers)]
        # Two passes: the privileged prompts are twice as long, and padding to them would cost half the time.
        halves = [response_loss(model, half, tokenizer.pad_token_id) for half in (students, teachers)]
        loss = torch.stack(halves).mean()
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


def _optimizers(model: Qwen3ForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the weight matrices of the layers and AdamW for the rest.

    In one trial each, the loss of the student after 250 steps was 0.35 nats with Muon at 5e-3, and 0.57 and
    0.65 nats with AdamW alone at 3e-3 and 6e-3; lower rates of AdamW were not tried.
    """
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embed_tokens" not in name]
    others = [weight for name, weight in named if weight.ndim != 2 or "embed_tokens" in name]
    return [
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def response_loss(model: Qwen3ForCausalLM, examples: list[Example], pad_id: int) -> Tensor:
    """Return the mean cross-entropy of the response tokens, in nats."""
    ids, labels = collate(examples, pad_id)
    # Right padding under causal attention: no real token sees it, so no mask is needed (and none is faster).
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    counted = labels[:, 1:] != IGNORED
    return F.cross_entropy(model.lm_head(hidden[counted]), labels[:, 1:][counted])


def collate(examples: list[Example], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return ids and labels, padded on the right; prompts and padding carry no label."""
    width = max(len(example.prompt_ids) + len(example.response_ids) for example in examples)
    ids = torch.full((len(examples), width), pad_id)
    labels = torch.full((len(examples), width), IGNORED)
    for row, example in enumerate(examples):
        start, end = len(example.prompt_ids), len(example.prompt_ids) + len(example.response_ids)
        ids[row, :end] = torch.tensor(example.prompt_ids + example.response_ids)
        labels[row, start:end] = torch.tensor(example.response_ids)
    return ids, labels


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))
