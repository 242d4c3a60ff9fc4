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

from verl_egrsd.output.files import completed
from verl_egrsd.reward import REASONS
from verl_egrsd.rollouts.dump_format import SCHEMA, metadata
from verl_egrsd.rollouts.token_texts import token_texts
from verl_egrsd.trainer import queue

PER_TOKEN = {
    "response_ids": "responses",
    "response_mask": "response_mask",
    "student_log_prob": "old_log_probs",
    "teacher_log_prob": "teacher_log_prob",
    "teacher_entropy": "teacher_entropy",
    "advantages": "advantages",
    "ratio": "ratio",
    "gate": "gate",
    "credit": "credit",
}
"""Columns of the file with one entry per token, and where the trainer has them."""


def dump_rollouts(
    folder: str | Path,
    batch: KVBatchMeta,
    tokenizer: Any,
    columns: Mapping[str, Tensor],
    rows: Mapping[str, Tensor],
    facts: Mapping[str, Any],
) -> None:
    """Write the real rows of a step to `FOLDER/STEP.parquet`, which gets its name when it is whole.

    Args:
        folder: `trainer.rollout_data_dir`; made when it is not there.
        batch: the batch, for what is no number: prompts, references, verdicts.
        tokenizer: tokenizer of the model.
        columns: the right-hand names of `PER_TOKEN` and `rm_scores`, real rows only, (rows, time).
        rows: `reward`, `truncated` and `length` (tokens) of the real rows, (rows,).
        facts: what holds for the whole file: `step`, `model`, `settings`, `low`, `high`.
    """
    table = []
    for i, texts in enumerate(_texts(batch, tokenizer)):
        tokens = {
            name: columns[source][i, : rows["length"][i]].tolist() for name, source in PER_TOKEN.items()
        }
        numbers = {
            "step": facts["step"],
            "score": columns["rm_scores"][i].sum().item(),
            "reward": rows["reward"][i].item(),
            "truncated": rows["truncated"][i].item(),
            "tokens": token_texts(tokenizer, tokens["response_ids"]),
        }
        table.append(texts | tokens | numbers)
    path = Path(folder) / f"{facts['step']}.parquet"
    with completed(path) as unfinished:
        pq.write_table(pa.Table.from_pylist(table, schema=SCHEMA.with_metadata(metadata(facts))), unfinished)


def _texts(batch: KVBatchMeta, tokenizer: Any) -> list[dict[str, str]]:
    """Return what is known about each real row beside its numbers."""
    fields = ("uid", "raw_prompt", "reward_model", "extra_fields", "prompts", "teacher_prompts")
    data = queue.read(batch, fields)
    uids, messages, reward, extra = (queue.rows(data[name]) for name in fields[:4])
    student, teacher = (data[name].unbind() for name in fields[4:])
    return [
        {
            "uid": str(uids[i]),
            "problem": messages[i][-1]["content"],
            "student_prompt": tokenizer.decode(student[i], skip_special_tokens=False),
            "teacher_prompt": tokenizer.decode(teacher[i], skip_special_tokens=False),
            "ground_truth": str(reward[i]["ground_truth"]),
            **_verdict(extra[i].get("reward_extra_info", {})),
        }
        for i in queue.real_rows(batch).nonzero().flatten().tolist()
    ]


def _verdict(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return reason and answer; both are "" where the reward is not ours."""
    reason = next((reason for reason in REASONS if scores.get(reason)), "")
    return {"verdict": reason, "answer": str(scores.get("pred", ""))}
