"""The teacher's prompts of a batch, one per problem, from the rows that came back with the rollouts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from transfer_queue import KVBatchMeta

from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.trainer import queue


def teacher_prompts(batch: KVBatchMeta, context: PrivilegedContext) -> list[Tensor]:
    """Return the ids of each row's privileged prompt; padding rows get a prompt of one token.

    Raises:
        RuntimeError: when a rollout did not start from the prompt that the chat template gives.
    """
    data = queue.read(batch, ("uid", "raw_prompt", "extra_info", "reward_model", "prompts"))
    uids, messages, extra, reward = (
        queue.rows(data[name]) for name in ("uid", "raw_prompt", "extra_info", "reward_model")
    )
    prompts, real = data["prompts"].unbind(), queue.valid_rows(batch)
    built: dict[str, Tensor] = {}
    for i, uid in enumerate(uids):
        if uid in built:
            continue
        if not real[i]:
            built[uid] = prompts[i][:1]
            continue
        row = {"extra_info": extra[i], "reward_model": reward[i]}
        used = _as_rolled_out(context, messages[i], prompts[i].tolist(), row)
        built[uid] = torch.tensor(used.teacher_prompt_ids(messages[i], row))
    return [built[uid] for uid in uids]


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
