"""With `trainer.rollout_data_dir`, each step leaves its rollouts with all numbers per token.

verl writes prompts, answers and scores to `STEP.jsonl` there; `STEP.parquet` beside it is ours, and
`verl-egrsd inspect` opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from transfer_queue import KVBatchMeta

from verl_egrsd.metrics import total_weight
from verl_egrsd.output.files import completed
from verl_egrsd.reward import REASONS
from verl_egrsd.rollouts.dump_format import metadata, schema
from verl_egrsd.rollouts.token_texts import token_texts
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.advantage_step import AdvantageStep, CreditedStep


def dump_rollouts(
    folder: str | Path,
    batch: KVBatchMeta,
    tokenizer: Any,
    step: CreditedStep,
    source: AdvantageStep,
    *,
    model: str,
) -> None:
    """Write the valid rows of a step to `FOLDER/STEP.parquet`, which gets its name when it is whole.

    Args:
        folder: `trainer.rollout_data_dir`; made when it is not there.
        batch: the batch, for its texts: prompts, references, verdicts.
        tokenizer: tokenizer of the model.
        step: the credited rows.
        source: the method, and its views of single tokens.
        model: `actor_rollout_ref.model.path`.
    """
    arrays, rollouts, number = token_arrays(step, source), step.rollouts, step.columns.step
    real = torch.arange(rollouts.response_ids.shape[1]) < rollouts.lengths.unsqueeze(1)
    starts = pa.array([0, *rollouts.lengths.cumsum(0).tolist()], pa.int32())

    def lists(values: Tensor | pa.Array) -> pa.ListArray:
        """Return one list per row; a list of Python's numbers would take ten times their bytes."""
        flat = pa.array(values[real].numpy()) if isinstance(values, Tensor) else values
        return pa.ListArray.from_arrays(starts, flat)

    ids = [row[:length].tolist() for row, length in zip(rollouts.response_ids, rollouts.lengths, strict=True)]
    texts = pa.concat_arrays([pa.array(token_texts(tokenizer, row), pa.string()) for row in ids])
    columns = {
        **_texts(batch, step, tokenizer),
        "step": [number] * len(ids),
        "score": rollouts.scores.numpy(),
        "reward": step.columns.rewards.numpy(),
        "truncated": rollouts.truncated.numpy(),
        "response_ids": lists(rollouts.response_ids.long()),
        "tokens": lists(texts),
        **{name: lists(values.float()) for name, values in arrays.items()},
    }
    facts = {"step": number, "model": model, "method": source.method.name, "settings": source.method.keys()}
    whole = schema(arrays).with_metadata(metadata(facts))
    with completed(Path(folder) / f"{number}.parquet") as path:
        pq.write_table(pa.Table.from_pydict(columns, schema=whole), path)


def token_arrays(step: CreditedStep, source: AdvantageStep) -> dict[str, Tensor]:
    """Return every number that a step knows of its tokens, by name, (rows, time)."""
    _, columns, credited = step
    arrays: dict[str, Tensor] = {
        **columns.token_columns(),
        "advantage": credited.advantages,
        **credited.weights,
        "weight": total_weight(credited, source.method.weighing),
        "credit": credited.credit,
    }
    if credited.policy_credit is not None:
        arrays["policy_credit"] = credited.policy_credit
    for tracker in source.trackers.values():
        arrays |= tracker.views(columns)
    return arrays


def _texts(batch: KVBatchMeta, step: CreditedStep, tokenizer: Any) -> dict[str, list[str]]:
    """Return what is known about the valid rows beside their numbers, by column."""
    data = queue.read(batch, ("reward_model", "prompts", "teacher_prompts"))
    truths = queue.rows(data["reward_model"])
    student, teacher = data["prompts"].unbind(), data["teacher_prompts"].unbind()
    rows = step.rollouts.valid.nonzero().flatten().tolist()
    reasons, answers = zip(*map(_verdict, step.rollouts.verdicts), strict=True)
    return {
        "uid": [*step.rollouts.uids],
        "problem": [*step.rollouts.prompts],
        "student_prompt": [tokenizer.decode(student[row], skip_special_tokens=False) for row in rows],
        "teacher_prompt": [tokenizer.decode(teacher[row], skip_special_tokens=False) for row in rows],
        "ground_truth": [str(truths[row]["ground_truth"]) for row in rows],
        "verdict": [*reasons],
        "answer": [*answers],
    }


def _verdict(scores: Mapping[str, Any]) -> tuple[str, str]:
    """Return reason and answer; both are "" where the reward is not ours."""
    return next((reason for reason in REASONS if scores.get(reason)), ""), str(scores.get("pred", ""))
