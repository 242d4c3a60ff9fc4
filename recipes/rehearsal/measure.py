"""What the small model can do: sampled accuracy and length of either role, and the teacher's entropy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from tqdm import tqdm
from transformers import Qwen3ForCausalLM

from recipes.rehearsal.training import privileged_context

MAX_RESPONSE = 160
"""Cap of a sampled response, in tokens."""


@dataclass(frozen=True)
class Sampled:
    """Responses of one role to held-out problems.

    Attributes:
        accuracy: share of correct boxed answers.
        length: mean response length in tokens, the end-of-sequence token included.
        finished: share of responses that end by themselves.
    """

    accuracy: float
    length: float
    finished: float


@dataclass(frozen=True)
class Entropy:
    """The teacher's next-token entropy along the student's responses, in nats."""

    mean: float
    maximum: float


def measure(
    model: Qwen3ForCausalLM, tokenizer: Any, rows: Sequence[dict[str, Any]], seed: int
) -> dict[str, dict[str, float]]:
    """Sample once per row as student and as teacher, and score the student's responses as the teacher."""
    context = privileged_context(tokenizer, "reference_solution")
    students = [context.student_prompt_ids(row["prompt"]) for row in rows]
    teachers = [context.teacher_prompt_ids(row["prompt"], row) for row in rows]
    answers = [row["reward_model"]["ground_truth"] for row in rows]
    rollouts = sample(model, tokenizer, students, seed=seed)
    privileged = sample(model, tokenizer, teachers, seed=seed)
    return {
        "student": asdict(judge(tokenizer, rollouts, answers)),
        "teacher": asdict(judge(tokenizer, privileged, answers)),
        "teacher_entropy": asdict(entropy(model, teachers, rollouts)),
    }


@torch.inference_mode()
def sample(
    model: Qwen3ForCausalLM,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = MAX_RESPONSE,
    batch: int = 64,
    seed: int = 0,
) -> list[list[int]]:
    """Sample one response per prompt; ends with the end-of-sequence token unless the cap cut it off."""
    responses: list[list[int]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in tqdm(range(0, len(prompts), batch), desc="sampling", unit="batch"):
            padded = tokenizer.pad(
                {"input_ids": list(prompts[start : start + batch])}, padding_side="left", return_tensors="pt"
            )
            output = model.generate(
                **padded,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=max_new_tokens,
            )
            new = output[:, padded["input_ids"].shape[1] :].tolist()
            responses += [_until_end(ids, tokenizer.eos_token_id) for ids in new]
    return responses


def judge(tokenizer: Any, responses: Sequence[list[int]], answers: Sequence[str]) -> Sampled:
    """Return accuracy and lengths; the last boxed number is the answer."""
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in responses]
    boxed = [re.findall(r"\\boxed\{(\d+)\}", text) for text in texts]
    correct = [found[-1:] == [answer] for found, answer in zip(boxed, answers, strict=True)]
    finished = [ids[-1:] == [tokenizer.eos_token_id] for ids in responses]
    return Sampled(
        accuracy=sum(correct) / len(correct),
        length=sum(map(len, responses)) / len(responses),
        finished=sum(finished) / len(finished),
    )


@torch.inference_mode()
def entropy(model: Qwen3ForCausalLM, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> Entropy:
    """Return mean and maximum of the entropy at every response position, given the prompts."""
    values = []
    for prompt, response in zip(prompts, responses, strict=True):
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        values.append(torch.distributions.Categorical(logits=logits.float()).entropy())
    joined = torch.cat(values)
    return Entropy(mean=float(joined.mean()), maximum=float(joined.max()))


def _until_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids
