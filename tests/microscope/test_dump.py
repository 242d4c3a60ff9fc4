"""What the trainer writes is what the microscope reads.

`queue.read` is replaced: TransferQueue needs Ray, and a run in tests/stack goes through the real one.
"""

from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from verl_egrsd.methods import methods, resolve
from verl_egrsd.metrics import method_metrics
from verl_egrsd.microscope.dumped import read_run
from verl_egrsd.rollouts.dump_format import FIXED
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.advantage_step import AdvantageStep
from verl_egrsd.trainer.dump import dump_rollouts, token_arrays
from verl_egrsd.trainer.rollouts import Rollouts

ANSWERS = ("then 1+1=2.", "€ \\boxed{2}<|im_end|>")
METHODS = [name for name, method in methods().items() if method.uses_teacher]


@pytest.fixture
def batch(tokenizer, monkeypatch):
    """The texts of two rollouts and, between them, of a padding row."""

    def ids(text):
        return torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])

    data = {
        "reward_model": [{"ground_truth": 2}] * 3,
        "prompts": queue.jagged([ids("1+1"), ids("1"), ids("What is 1+1?")]),
        "teacher_prompts": queue.jagged([ids("1+1 is 2"), ids("1"), ids("1+1=2, so what?")]),
    }
    monkeypatch.setattr(queue, "read", lambda batch, fields: {name: data[name] for name in fields})
    return SimpleNamespace(tags=[{}, {"is_padding": True}, {}])


def credited(tokenizer, name, settings=None, data=None):
    """The valid rows of step 7 under a method, and their credit."""
    method = resolve(name, settings, max_response_length=32)
    responses = [torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in ANSWERS]
    lengths = torch.tensor([len(response) for response in responses])
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    draw = torch.rand(4, *mask.shape, generator=torch.Generator().manual_seed(0))
    numbers = {
        "teacher_log_prob": -draw[0],
        "student_log_prob": -draw[1],
        "teacher_entropy": 3 * draw[2],
        "student_entropy": 3 * draw[3],
        "divergence": draw[0],
    }
    rollouts = Rollouts(
        valid=torch.tensor([True, False, True]),
        nested_mask=torch.empty(0),
        uids=["a", "b"],
        prompts=["question a", "question b"],
        response_ids=pad_sequence(responses, batch_first=True),
        response_mask=mask,
        lengths=lengths,
        prompt_lengths=torch.tensor([3, 4]),
        truncated=torch.tensor([True, False]),
        scores=torch.tensor([1.0, 0.0]),
        verdicts=[{"correct": 1.0, "wrong": 0.0, "pred": "2"}, {}],
        token_columns={key: values for key, values in numbers.items() if key in method.reads},
        verls_advantages=None,
        data=data,
    )
    source = AdvantageStep(method)
    step = source.credit(rollouts, 7)
    method_metrics(method, step.columns, step.credited, source.trackers)
    return step, source


@pytest.mark.parametrize("name", METHODS)
def test_what_the_trainer_writes_is_what_the_microscope_reads_under_every_method(
    name, batch, tokenizer, tmp_path
):
    step, source = credited(tokenizer, name)
    dump_rollouts(tmp_path / "new", batch, tokenizer, step, source, model="m")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["7.parquet"]
    run = read_run(tmp_path / "new" / "7.parquet")
    assert run.method == source.method
    assert ["".join(rollout.tokens) for rollout in run.rollouts] == list(ANSWERS)
    written = token_arrays(step, source)
    assert {*written} | {"log_ratio"} >= run.arrays >= {*written}
    for i, rollout in enumerate(run.rollouts):
        for array, values in written.items():
            assert rollout[array].tolist() == values[i, : len(rollout.tokens)].tolist(), array
    first, second = run.rollouts
    assert (first.name, first.verdict, first.reward, first.truncated) == (
        "step 7, rollout 0",
        "correct",
        pytest.approx(1.0 + source.method.reward.length_beta * (1 - len(first.tokens) / 32)),
        True,
    )
    assert (second.problem, second.verdict, second.ground_truth) == ("question b", "", "2")
    assert (second.student_prompt, second.teacher_prompt) == ("What is 1+1?", "1+1=2, so what?")


def test_a_dump_of_a_run_that_read_the_pass_rates_of_the_data_is_read_without_them(
    batch, tokenizer, tmp_path
):
    data = [{"extra_info": {"pass_rate": rate}} for rate in (0.25, 1.0)]
    step, source = credited(tokenizer, "paced", {"pass_rate": {"source": "data"}}, data)
    dump_rollouts(tmp_path, batch, tokenizer, step, source, model="m")
    run = read_run(tmp_path)
    assert [set(rollout["pass_rate"]) for rollout in run.rollouts] == [{0.1875}, {0.0}]
    assert run.metrics["pass_rate/share_zero"] == 0.5


def test_the_file_has_all_columns_with_one_entry_per_token(batch, tokenizer, tmp_path):
    step, source = credited(tokenizer, "cl_egrsd")
    dump_rollouts(tmp_path, batch, tokenizer, step, source, model="m")
    table = pq.read_table(tmp_path / "7.parquet")
    arrays = {*table.schema.names} - {*FIXED}
    assert {"teacher_entropy", "ratio", "entropy_gate", "weight", "credit", "regime"} <= arrays
    for row, length in zip(table.to_pylist(), step.rollouts.lengths.tolist(), strict=True):
        assert {len(row[name]) for name in (*arrays, "tokens", "response_ids")} == {length}
        assert "".join(row["tokens"]) == tokenizer.decode(row["response_ids"])
    assert table["score"].to_pylist() == [1.0, 0.0]
