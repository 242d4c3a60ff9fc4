"""The teacher's prompts of a batch, from the rows and the rollouts that came back."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transfer_queue import KVBatchMeta

from verl_egrsd.credit import is_correct
from verl_egrsd.rollouts.outcome import truncated_rows
from verl_egrsd.teacher.attempts import Attempt, Attempts
from verl_egrsd.teacher.context import PrivilegedContext, TeacherPrompt
from verl_egrsd.teacher.steering import STEERING_PROMPTS, contrast
from verl_egrsd.trainer import queue


def teacher_prompts(
    batch: KVBatchMeta, context: PrivilegedContext, *, ends: Sequence[int], correct_above: float
) -> tuple[dict[str, list[Tensor]], dict[str, float]]:
    """Return the ids of each row's prompts by column, and metrics; padding rows get prompts of one token.

    The columns are `teacher_prompts` and, if the teacher is steered, those of `STEERING_PROMPTS`. A prompt is
    built once per problem, or once per rollout where it shows what differs between rollouts.

    Args:
        batch: the rows of a step.
        context: what the teacher reads.
        ends: tokens that end a response.
        correct_above: `algorithm.egrsd.correct_above`: a rollout with a score above it is correct.

    Raises:
        RuntimeError: when a rollout did not start from the prompt that the chat template gives.
    """
    data = queue.read(batch, ("uid", "raw_prompt", "extra_info", "reward_model", "prompts"))
    uids, messages, extra, reward = (
        queue.rows(data[name]) for name in ("uid", "raw_prompt", "extra_info", "reward_model")
    )
    prompts = data["prompts"].unbind()
    rollouts: dict[int, Attempts] = {}
    if context.reads_rollouts:
        rollouts = rollouts_by_row(batch, uids, context.tokenizer, ends, correct_above)
    used: dict[str, PrivilegedContext] = {}
    built: dict[Hashable, TeacherPrompt] = {}
    keys: list[Hashable] = [(uid, i) if rollouts else uid for i, uid in enumerate(uids)]
    real = queue.valid_rows(batch).nonzero().flatten().tolist()
    rows = [{"extra_info": extra[i], "reward_model": reward[i]} for i in range(len(uids))]
    for i in real:
        if uids[i] not in used:
            used[uids[i]] = _as_rolled_out(context, messages[i], prompts[i].tolist(), rows[i])
        if keys[i] not in built:
            built[keys[i]] = used[uids[i]].teacher_prompt(messages[i], rows[i], rollouts.get(i))
    ids = {key: torch.tensor(context.ids(prompt.text)) for key, prompt in built.items()}
    columns = {"teacher_prompts": [ids[key] if key in ids else prompts[i][:1] for i, key in enumerate(keys)]}
    metrics = _metrics(context, list(built.values()))
    if context.steering is not None:
        sides = {i: _steering_ids(used[uids[i]], messages[i], rows[i], rollouts[i]) for i in real}
        for name in STEERING_PROMPTS:
            columns[name] = [sides.get(i, {}).get(name, row[:1]) for i, row in enumerate(prompts)]
        metrics["egrsd/context/steered"] = sum(map(bool, sides.values())) / len(sides)
    return columns, metrics


def _steering_ids(
    context: PrivilegedContext, messages: list[dict], row: dict, rollouts: Attempts
) -> dict[str, Tensor]:
    """Return the ids of the prompts that show a correct and a wrong rollout; {} where there are not both."""
    shown = contrast(rollouts)
    if shown is None or context.steering is None:
        return {}
    texts = [context.steering.teacher_prompt_text(messages, row, Attempts(attempt)) for attempt in shown]
    ids = (torch.tensor(context.ids(text)) for text in texts)
    return dict(zip(STEERING_PROMPTS, ids, strict=True))


def rollouts_by_row(
    batch: KVBatchMeta, uids: Sequence[str], tokenizer: Any, ends: Sequence[int], correct_above: float
) -> dict[int, Attempts]:
    """Return what a prompt may show of the rollouts, by position of the row; padding rows have none."""
    data, real = queue.read(batch, ("responses", "rm_scores")), queue.valid_rows(batch)
    scores = data["rm_scores"].to_padded_tensor(0.0).sum(dim=1)[real]
    responses = [row for row, counts in zip(data["responses"].unbind(), real, strict=True) if counts]
    lengths = torch.tensor([len(row) for row in responses])
    cut = truncated_rows(pad_sequence(responses, batch_first=True), lengths, ends).tolist()
    correct = is_correct(scores, correct_above).tolist()
    texts = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in responses]
    positions = real.nonzero().flatten().tolist()
    attempts = dict(zip(positions, map(Attempt, texts, correct, cut), strict=True))
    return {
        i: Attempts(own, tuple(attempts[j] for j in positions if j != i and uids[j] == uids[i]))
        for i, own in attempts.items()
    }


def _metrics(context: PrivilegedContext, prompts: Sequence[TeacherPrompt]) -> dict[str, float]:
    """Return the shares of rollouts that were shown less than the template says."""
    metrics = {}
    if context.without_sibling is not None:
        without = sum(prompt.without_sibling for prompt in prompts)
        metrics["egrsd/context/without_sibling"] = without / len(prompts)
    if context.reads_rollouts:
        metrics["egrsd/context/shortened"] = sum(prompt.shortened for prompt in prompts) / len(prompts)
    return metrics


def may_think_less(context: PrivilegedContext) -> bool:
    """Whether the thinking flag, set to off, would change the student's prompts."""
    less = replace(context, student_kwargs={**context.student_kwargs, "enable_thinking": False})
    probe = [{"role": "user", "content": "What is 2+3?"}]
    return less.student_prompt_text(probe) != context.student_prompt_text(probe)


def _as_rolled_out(
    context: PrivilegedContext, messages: list[dict], prompt: list[int], row: dict
) -> PrivilegedContext:
    """Return the context that the rollout's prompt was rendered with: the teacher's is built like it.

    Some chat templates write the date, and a rollout may have begun before midnight.
    """
    if context.student_prompt_ids(messages) == prompt:
        return context
    earlier = context.as_of_yesterday()
    if earlier.student_prompt_ids(messages) == prompt:
        return earlier
    raise RuntimeError(
        f"the rollout of row {(row['extra_info'] or {}).get('index', '?')} did not start from the rendered "
        f"prompt: it has {len(prompt)} tokens, the chat template gives "
        f"{len(context.student_prompt_ids(messages))}. It was truncated (data.max_prompt_length) or built by "
        "another agent loop or chat template."
    )
