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
    arrays, number = token_arrays(step, source), step.columns.step
    table = []
    for i, texts in enumerate(_texts(batch, step, tokenizer)):
        length = int(step.rollouts.lengths[i])
        ids = step.rollouts.response_ids[i, :length].tolist()
        numbers = {
            "step": number,
            "score": step.rollouts.scores[i].item(),
            "reward": step.columns.rewards[i].item(),
            "truncated": step.rollouts.truncated[i].item(),
            "response_ids": ids,
            "tokens": token_texts(tokenizer, ids),
        }
        table.append(texts | numbers | {name: values[i, :length].tolist() for name, values in arrays.items()})
    facts = {"step": number, "model": model, "method": source.method.name, "settings": source.method.keys()}
    whole = schema(arrays).with_metadata(metadata(facts))
    with completed(Path(folder) / f"{number}.parquet") as path:
        pq.write_table(pa.Table.from_pylist(table, schema=whole), path)


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


def _texts(batch: KVBatchMeta, step: CreditedStep, tokenizer: Any) -> list[dict[str, str]]:
    """Return what is known about each valid row beside its numbers."""
    data = queue.read(batch, ("reward_model", "prompts", "teacher_prompts"))
    truths = queue.rows(data["reward_model"])
    student, teacher = data["prompts"].unbind(), data["teacher_prompts"].unbind()
    rows = step.rollouts.valid.nonzero().flatten().tolist()
    return [
        {
            "uid": step.rollouts.uids[i],
            "problem": step.rollouts.prompts[i],
            "student_prompt": tokenizer.decode(student[row], skip_special_tokens=False),
            "teacher_prompt": tokenizer.decode(teacher[row], skip_special_tokens=False),
            "ground_truth": str(truths[row]["ground_truth"]),
            **_verdict(step.rollouts.verdicts[i]),
        }
        for i, row in enumerate(rows)
    ]


def _verdict(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return reason and answer; both are "" where the reward is not ours."""
    reason = next((reason for reason in REASONS if scores.get(reason)), "")
    return {"verdict": reason, "answer": str(scores.get("pred", ""))}
