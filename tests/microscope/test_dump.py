"""What the trainer writes is what the microscope reads.

`queue.read` is replaced: TransferQueue needs Ray, and a run in tests/stack goes through the real one.
"""

from dataclasses import asdict
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from verl_egrsd.config import EgrsdConfig
from verl_egrsd.credit import token_credit
from verl_egrsd.microscope.dumped import read_run
from verl_egrsd.rollouts.dump_format import SCHEMA
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.dump import PER_TOKEN, dump_rollouts

ANSWERS = ("then 1+1=2.", "€ \\boxed{2}<|im_end|>")
SETTINGS = EgrsdConfig(max_response_length=32, gamma=0.5, window=2)
FACTS = {"step": 7, "model": "m", "settings": asdict(SETTINGS), "low": 0.1, "high": 0.3}


@pytest.fixture
def step(tokenizer, monkeypatch):
    """Two rollouts and, between them, a padding row; the token columns hold the real rows only."""

    def ids(text):
        return torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])

    scores = {"correct": 1.0, "wrong": 0.0, "pred": "2"}
    data = {
        "uid": ["a", "pad", "b"],
        "raw_prompt": [[{"role": "user", "content": f"question {name}"}] for name in "apb"],
        "reward_model": [{"ground_truth": 2}] * 3,
        "extra_fields": [{"reward_extra_info": scores}, {}, {}],
        "prompts": queue.jagged([ids("1+1"), ids("1"), ids("What is 1+1?")]),
        "teacher_prompts": queue.jagged([ids("1+1 is 2"), ids("1"), ids("1+1=2, so what?")]),
    }
    monkeypatch.setattr(queue, "read", lambda batch, fields: {name: data[name] for name in fields})
    responses = [ids(text) for text in ANSWERS]
    length = torch.tensor([len(response) for response in responses])
    mask = torch.arange(int(length.max())) < length.unsqueeze(1)
    draw = torch.rand(3, *mask.shape, generator=torch.Generator().manual_seed(0))
    advantages = torch.tensor([[0.5], [-0.5]])
    scored = (-draw[0], -draw[1], 3 * draw[2])
    credit = token_credit(advantages, *scored, mask, gamma=0.5, window=2)
    names = ("teacher_log_prob", "old_log_probs", "teacher_entropy")
    columns = {
        "responses": pad_sequence(responses, batch_first=True),
        "response_mask": mask.long(),
        "rm_scores": torch.zeros(mask.shape).index_fill(1, torch.tensor([3]), 1.0),
        "advantages": advantages.expand(mask.shape),
        **dict(zip(names, scored, strict=True)),
        **credit._asdict(),
    }
    rows = {"reward": torch.tensor([1.25, 0.0]), "truncated": torch.tensor([True, False]), "length": length}
    batch = SimpleNamespace(tags=[{}, {"is_padding": True}, {}])
    return SimpleNamespace(batch=batch, columns=columns, rows=rows)


def test_what_the_trainer_writes_is_what_the_microscope_reads(step, tokenizer, tmp_path):
    dump_rollouts(tmp_path / "new", step.batch, tokenizer, step.columns, step.rows, FACTS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["7.parquet"]
    run = read_run(tmp_path / "new" / "7.parquet")
    assert run.settings == SETTINGS
    assert ["".join(rollout.tokens) for rollout in run.rollouts] == list(ANSWERS)
    names = {"advantage": "advantages", "student_log_prob": "old_log_probs", "entropy": "teacher_entropy"}
    for i, rollout in enumerate(run.rollouts):
        length = len(rollout.tokens)
        for name in (
            "teacher_log_prob",
            "student_log_prob",
            "entropy",
            "advantage",
            "ratio",
            "gate",
            "credit",
        ):
            written = step.columns[names.get(name, name)][i, :length]
            assert getattr(rollout, name).tolist() == written.tolist(), name
        assert rollout.gate.tolist() == rollout.gate_lookahead.tolist()
    first, second = run.rollouts
    assert (first.name, first.verdict, first.reward, first.truncated) == (
        "step 7, rollout 0",
        "correct",
        1.25,
        True,
    )
    assert (second.problem, second.verdict, second.ground_truth) == ("question b", "", "2")
    assert (second.student_prompt, second.teacher_prompt) == ("What is 1+1?", "1+1=2, so what?")


def test_the_file_has_all_columns_with_one_entry_per_token(step, tokenizer, tmp_path):
    dump_rollouts(tmp_path, step.batch, tokenizer, step.columns, step.rows, FACTS)
    table = pq.read_table(tmp_path / "7.parquet")
    assert table.schema.names == SCHEMA.names
    for row, length in zip(table.to_pylist(), step.rows["length"].tolist(), strict=True):
        assert {len(row[name]) for name in (*PER_TOKEN, "tokens")} == {length}
        assert row["response_mask"] == [1] * length
        assert row["score"] == 1
        assert "".join(row["tokens"]) == tokenizer.decode(row["response_ids"])
