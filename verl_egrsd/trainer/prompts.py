"""The teacher's prompts of a batch, from the rows and the rollouts that came back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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

OWN_PROMPTS = "teacher_prompts"
"""Column of the privileged prompts."""


def teacher_prompts(
    batch: KVBatchMeta, context: PrivilegedContext, *, ends: Sequence[int], correct_above: float
) -> tuple[dict[str, list[Tensor]], dict[str, float]]:
    """Return the ids of each row's prompts by column, and metrics; padding rows get prompts of one token.

    The columns are `OWN_PROMPTS` and, if the teacher is steered, those of `STEERING_PROMPTS`. A prompt is
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
    steered = context.steering is not None
    rollouts: dict[int, Attempts] = {}
    if context.reads_rollouts or steered:
        rollouts = rollouts_by_row(batch, uids, context.tokenizer, ends, correct_above)
    used: dict[str, PrivilegedContext] = {}
    built: dict[Hashable, TeacherPrompt] = {}
    read: dict[int, dict[str, TeacherPrompt]] = {}
    for i in queue.valid_rows(batch).nonzero().flatten().tolist():
        uid, row = uids[i], {"extra_info": extra[i], "reward_model": reward[i]}
        key = (uid, i) if context.reads_rollouts else uid
        if uid not in used:
            used[uid] = _as_rolled_out(context, messages[i], prompts[i].tolist(), row)
        if key not in built:
            built[key] = used[uid].teacher_prompt(messages[i], row, rollouts.get(i))
        read[i] = {OWN_PROMPTS: built[key]}
        if steered:
            read[i] |= _steering_prompts(used[uid], messages[i], row, rollouts[i])
    texts = {prompt.text for asked in read.values() for prompt in asked.values()}
    ids = {text: torch.tensor(context.ids(text)) for text in texts}
    columns = {}
    for name in (OWN_PROMPTS, *(STEERING_PROMPTS if steered else ())):
        found = (read.get(i, {}).get(name) for i in range(len(prompts)))
        columns[name] = [ids[one.text] if one else row[:1] for one, row in zip(found, prompts, strict=True)]
    return columns, _metrics(context, list(read.values()))


def _steering_prompts(
    context: PrivilegedContext, messages: list[dict], row: dict, rollouts: Attempts
) -> dict[str, TeacherPrompt]:
    """Return the prompts that show a correct and a wrong rollout; {} where there are not both."""
    shown = contrast(rollouts)
    if shown is None or context.steering is None:
        return {}
    prompts = (context.steering.teacher_prompt(messages, row, Attempts(attempt)) for attempt in shown)
    return dict(zip(STEERING_PROMPTS, prompts, strict=True))


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


def _metrics(context: PrivilegedContext, read: Sequence[Mapping[str, TeacherPrompt]]) -> dict[str, float]:
    """Return the shares of rollouts that were shown less than the template says, and that are steered."""
    metrics = {}
    if context.without_sibling is not None:
        without = sum(prompts[OWN_PROMPTS].without_sibling for prompts in read)
        metrics["egrsd/context/without_sibling"] = without / len(read)
    if context.reads_rollouts or context.steering is not None:
        lost = sum(any(prompt.shortened for prompt in prompts.values()) for prompts in read)
        metrics["egrsd/context/shortened"] = lost / len(read)
    if context.steering is not None:
        metrics["egrsd/context/steered"] = sum(len(prompts) > 1 for prompts in read) / len(read)
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
