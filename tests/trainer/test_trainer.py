"""What the trainer checks and builds between verl's steps, without verl's workers.

`queue.read` is replaced: TransferQueue needs Ray, and the runs in tests/stack go through the real one.
"""

import json
from copy import copy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import try_to_load_from_cache
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.v1 import PPOTrainerSync

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from tests.support.composing import composed
from verl_egrsd.checkpoints import places
from verl_egrsd.config import TeacherConfig
from verl_egrsd.credit import policy_loss
from verl_egrsd.methods import resolve
from verl_egrsd.metrics import method_metrics
from verl_egrsd.preflight.model_code import code_of_model
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.trainer import queue, sync
from verl_egrsd.trainer.advantage_step import AdvantageStep
from verl_egrsd.trainer.losses import egrsd_loss
from verl_egrsd.trainer.prompts import may_think_less
from verl_egrsd.trainer.rollouts import read_rollouts
from verl_egrsd.trainer.sync import EgrsdTrainer

THINKING = {"enable_thinking": True}
NAN = float("nan")
ENDS = [8]
"""Tokens that end a response: every one of the batch below ends in it."""
PLAIN = resolve("direction", max_response_length=4)
GATED = resolve("egrsd", max_response_length=4)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> PrivilegedContext:
    tokenizer = build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return PrivilegedContext.from_config(tokenizer, TeacherConfig(), THINKING)


@pytest.fixture
def batch(context: PrivilegedContext, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Two problems with two rollouts each, and a padding row that verl copied from the first."""
    first, second = generate_rows("train", 2, seed=0)
    rows = [first, second, first, second, first]
    data = {
        "uid": ["a", "b", "a", "b", "pad"],
        "raw_prompt": [row["prompt"] for row in rows],
        "extra_info": [row["extra_info"] for row in rows],
        "reward_model": [row["reward_model"] for row in rows],
        "prompts": queue.jagged([torch.tensor(context.student_prompt_ids(row["prompt"])) for row in rows]),
    }
    pair = queue.jagged([torch.tensor([0.0, 1.0])] * 5)
    names = ("rm_scores", "old_log_probs", "teacher_log_prob", "teacher_entropy")
    data |= dict.fromkeys(names, pair)
    data["responses"] = queue.jagged([torch.tensor([7, 8])] * 5)
    data["response_mask"] = queue.jagged([torch.tensor([1, 1])] * 5)
    answers = ("5", "", "5", "6", "5")
    data["extra_fields"] = [{"reward_extra_info": {"pred": answer}} for answer in answers]
    asked: list[tuple[str, ...]] = []

    def read(batch: Any, fields: Any) -> Any:
        asked.append(tuple(fields))
        found = {name: data[name] for name in fields}
        tensors = {name: column for name, column in found.items() if isinstance(column, torch.Tensor)}
        return Read(found, tensors)

    monkeypatch.setattr(queue, "read", read)
    tags = [{"prompt_len": 3, "response_len": 2, "is_padding": i == 4} for i in range(5)]
    return SimpleNamespace(tags=tags, data=data, asked=asked)


class Read(dict):
    """Columns as `queue.read` hands them out."""

    def __init__(self, found: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        super().__init__(found)
        self.tensors = tensors

    def to_padded_tensor(self) -> "Read":
        padded = {name: column.to_padded_tensor(0) for name, column in self.tensors.items()}
        return Read(padded, padded)


def test_a_number_on_a_token_that_is_not_finite_names_the_column_and_the_prompt(batch):
    batch.data["teacher_entropy"] = queue.jagged(
        [torch.tensor([0.5, value]) for value in (1, 2, 3, NAN, NAN)]
    )
    with pytest.raises(ValueError, match="teacher_entropy is nan at the rollout of prompt") as error:
        read_rollouts(batch, GATED, ENDS).columns(GATED, 1)
    assert repr(batch.data["raw_prompt"][3][-1]["content"][:200]) in str(error.value)
    batch.data["teacher_entropy"] = queue.jagged([torch.tensor([0.5, value]) for value in (1, 2, 3, 4, NAN)])
    read_rollouts(batch, GATED, ENDS).columns(GATED, 1)  # the last row is padding, whose numbers nobody uses


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_of_the_reward_function_that_is_not_finite_stops_the_step_with_row_and_value(batch, score):
    scores = [[0.0, 1.0], [0.0, 0.0], [0.0, score], [1.0, 0.0], [score, 0.0]]
    batch.data["rm_scores"] = queue.jagged([torch.tensor(row) for row in scores])
    with pytest.raises(ValueError, match=rf"reward function's score is {score} for the rollout") as error:
        read_rollouts(batch, PLAIN, ENDS).columns(PLAIN, 1)
    assert repr(batch.data["raw_prompt"][2][-1]["content"][:200]) in str(error.value)


def test_the_rollouts_are_read_once_and_no_column_that_the_method_does_not_read(batch):
    read_rollouts(batch, PLAIN, ENDS)
    read_rollouts(batch, GATED, ENDS)
    assert len(batch.asked) == 2
    assert "teacher_entropy" in batch.asked[1]
    names = {"old_log_probs", "entropy", "teacher_log_prob", "teacher_entropy", "advantages"}
    assert names.isdisjoint(batch.asked[0])
    assert names & {*batch.asked[1]} == {"old_log_probs", "teacher_log_prob", "teacher_entropy"}


OF_DATA = resolve("paced", {"pass_rate": {"source": "data"}}, max_response_length=4)


def test_the_pass_rates_of_the_data_are_those_of_the_valid_rows(batch):
    rates = [{"pass_rate": rate} for rate in (0, 0.25, 0, 0.25)]
    batch.data["extra_info"] = [*rates, {}]  # the padding row has none
    assert read_rollouts(batch, OF_DATA, ENDS).columns(OF_DATA, 1).pass_rate.tolist() == [0, 0.25, 0, 0.25]


@pytest.mark.parametrize("value", [None, NAN, 1.5])
def test_a_row_without_a_pass_rate_stops_the_step_with_prompt_value_and_remedy(batch, value):
    batch.data["extra_info"] = [{"pass_rate": 0.5}] * 2 + [{"pass_rate": value}, {}, {}]
    message = rf"extra_info\.pass_rate of the rollout of prompt .* is .*{value}.*source=rollouts"
    with pytest.raises(ValueError, match=message) as error:
        read_rollouts(batch, OF_DATA, ENDS).columns(OF_DATA, 1)
    assert repr(batch.data["raw_prompt"][2][-1]["content"][:200]) in str(error.value)


def test_no_column_of_the_data_is_read_where_the_rollouts_give_the_pass_rate(batch):
    method = resolve("paced", max_response_length=4)
    assert read_rollouts(batch, method, ENDS).columns(method, 1).pass_rate is None
    assert "extra_info" not in batch.asked[0]


def test_rows_of_a_prompt_are_a_problem_and_rows_of_one_answer_have_one_number(batch):
    columns = read_rollouts(batch, PLAIN, ENDS).columns(PLAIN, 1)
    assert columns.problems.tolist() == [0, 1, 0, 1]
    assert columns.answers.tolist() == [0, -1, 0, 2]


def test_padding_rows_get_a_credit_of_zero_in_the_column_that_is_written(batch):
    rollouts = read_rollouts(batch, PLAIN, ENDS)
    written = rollouts.as_column(torch.ones(4, 2)).unbind()
    assert [row.tolist() for row in written] == [[1, 1], [1, 1], [1, 1], [1, 1], [0, 0]]


def rewards(batch: SimpleNamespace, scores: list[float], **settings: Any) -> list[float]:
    """Rewards of rollouts of 2 of at most 4 tokens, by score."""
    method = resolve("direction", settings, max_response_length=4)
    batch.data["rm_scores"] = queue.jagged([torch.tensor([0.0, score]) for score in (*scores, 0.0)])
    return read_rollouts(batch, method, ENDS).columns(method, 1).rewards.tolist()


def test_a_correct_answer_earns_the_more_the_shorter_it_is(batch):
    assert rewards(batch, [1.0, 0.0, 0.0, 1.0]) == [1.25, 0.0, 0.0, 1.25]
    assert rewards(batch, [1.0, 0.0, 0.0, 1.0], length_beta=0.0) == [1.0, 0.0, 0.0, 1.0]


def test_what_is_correct_is_a_setting_and_a_format_bonus_is_not(batch):
    for scores, above, right in (
        ([1.1, 1.0, 0.7, 0.5], 0.5, [True, True, True, False]),
        ([0.5, 0.1, 0.0, -1.0], 0.5, [False] * 4),
        ([1.1, 1.0, 0.7, 0.5], 0.9, [True, True, False, False]),
        ([0.5, 0.1, 0.0, -1.0], -2.0, [True] * 4),
    ):
        assert [reward > 0 for reward in rewards(batch, scores, correct_above=above)] == right


@pytest.mark.parametrize("source", ["rollouts", "data"])
def test_the_data_set_is_told_whether_the_method_reads_the_pass_rates(monkeypatch, source):
    told: list[bool] = []

    def start(trainer: Any, config: Any) -> None:
        told.append(config.data.egrsd_pass_rate)
        trainer.replay_buffer = SimpleNamespace()

    monkeypatch.setattr(PPOTrainerSync, "__init__", start)
    for name in ("check_files", "hold_output", "self_test", "guard_rewards"):
        monkeypatch.setattr(sync, name, lambda *_: None)
    monkeypatch.setattr(sync, "settle_start", lambda _: SimpleNamespace(checkpoint=None))
    presets = ("+preset=paced", "+model=qwen3_4b", "+hardware=gpu8")
    EgrsdTrainer(composed(*presets, f"+algorithm.egrsd.pass_rate.source={source}"))
    assert told == [source == "data"]


def test_a_running_baseline_and_its_trackers_survive_a_checkpoint(batch):
    batch.data["teacher_entropy"] = queue.jagged([torch.tensor([0.5, value]) for value in (1.0, 2, 3, 4, 0)])
    steps = [AdvantageStep(GATED) for _ in range(2)]
    for number in range(1, 4):
        for step in steps:
            found = step.credit(read_rollouts(batch, GATED, ENDS), number)
            method_metrics(GATED, found.columns, found.credited, step.trackers)
            step.updated()
        steps[1] = AdvantageStep(GATED)
        steps[1].load_state_dict(json.loads(json.dumps(steps[0].state_dict())))
    assert steps[0].state_dict() == steps[1].state_dict()
    assert steps[0].state_dict()["advantage"]["steps"] == 3
    with pytest.raises(ValueError, match="no state of entropy_gate: it was written by another"):
        steps[0].load_state_dict({"advantage": {}})


def test_the_rewards_enter_the_baseline_after_the_update_alone(batch):
    step = AdvantageStep(PLAIN)
    step.credit(read_rollouts(batch, PLAIN, ENDS), 1)
    assert step.state_dict()["advantage"]["count"] == 0
    step.updated()
    assert step.state_dict()["advantage"]["count"] == 4


@pytest.mark.parametrize(
    ("header", "kwargs", "less"),
    [
        ("''", {}, False),
        ("'<think>'", {"enable_thinking": True}, False),
        ("'' if enable_thinking else '<think></think>'", {"enable_thinking": True}, True),
        ("'' if enable_thinking else '<think></think>'", {"enable_thinking": False}, False),
    ],
)
def test_the_student_may_think_less_only_where_the_flag_would_change_its_prompt(
    context, header, kwargs, less
):
    tokenizer = copy(context.tokenizer)
    tokenizer.chat_template = (
        "{{ messages[-1].content }}{% if add_generation_prompt %}{{ " + header + " }}{% endif %}"
    )
    assert may_think_less(replace(context, tokenizer=tokenizer, student_kwargs=kwargs)) is less


def test_a_column_that_does_not_exist_is_an_error_and_not_a_gap(monkeypatch):
    batch = SimpleNamespace(keys=["a"], partition_id="train")
    monkeypatch.setattr(queue.tq, "kv_batch_get", lambda **_: {"responses": None})
    with pytest.raises(KeyError, match="no column teacher_entropy; it has responses"):
        queue.read(batch, ("responses", "teacher_entropy"))


def test_the_update_is_handed_the_batch_that_the_write_returns(batch, monkeypatch):
    """The workers fetch the columns that a handle names, and only the new one names the credit."""
    written = {}

    def put(fields, **_):
        written.update(fields.items())
        return "the batch with the credit"

    monkeypatch.setattr(queue.tq, "kv_batch_put", put)
    trainer = SimpleNamespace(
        method=PLAIN,
        advantage_step=AdvantageStep(PLAIN),
        global_steps=1,
        end_token_ids=ENDS,
        step_report=SimpleNamespace(metrics=lambda *_: {}),
        report=SimpleNamespace(config=None),
        config=SimpleNamespace(trainer={}),
    )
    handle = SizedBatch(**vars(batch), keys=list("abcde"), partition_id="train")
    assert EgrsdTrainer._compute_advantage(trainer, handle, {}) == "the batch with the credit"
    assert written.keys() == {"advantages", "returns"}


class SizedBatch(SimpleNamespace):
    """A batch that knows its number of rows, as the queue's handle does."""

    def __len__(self) -> int:
        return len(self.tags)


def test_the_estimator_under_a_trainer_without_a_teacher_names_the_key_to_set():
    config = SimpleNamespace(adv_estimator="cl_egrsd")
    with pytest.raises(ValueError, match=r"cl_egrsd needs .*set trainer\.v1\.trainer_mode=egrsd_sync"):
        ADV_ESTIMATOR_REGISTRY["cl_egrsd"](
            token_level_rewards=torch.zeros(1, 2), response_mask=torch.ones(1, 2), config=config, index=None
        )


def test_the_loss_over_micro_batches_is_the_token_mean_of_the_method():
    generator = torch.Generator().manual_seed(0)
    log_prob = -torch.rand(6, 5, generator=generator)
    credit = torch.randn(6, 5, generator=generator)
    mask = torch.arange(5) < torch.tensor([5, 1, 3, 2, 4, 5]).unsqueeze(1)
    config = SimpleNamespace(global_batch_info={"dp_size": 1, "batch_num_tokens": int(mask.sum())})
    parts = [
        egrsd_loss(log_prob[rows], log_prob[rows], credit[rows], mask[rows], config=config)[0]
        for rows in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    torch.testing.assert_close(sum(parts), policy_loss(log_prob, credit, mask))


def test_code_of_a_model_that_is_fetched_at_the_start_is_refused_before_it_runs(tmp_path, monkeypatch):
    """verl's trainer loads the tokenizer without its code, and starts the reward workers afterwards."""
    cached = partial(try_to_load_from_cache, cache_dir=tmp_path)
    monkeypatch.setattr(places, "try_to_load_from_cache", cached)
    model = {"path": "own/model", "tokenizer_path": None, "trust_remote_code": False}
    trainer: Any = object.__new__(EgrsdTrainer)
    trainer.config = OmegaConf.create({"actor_rollout_ref": {"model": model}})
    assert list(code_of_model(trainer.config)) == []

    def fetch(_: Any) -> None:
        repository = tmp_path / "models--own--model"
        for name, text in (
            ("refs/main", "abc"),
            ("snapshots/abc/tokenizer_config.json", '{"auto_map": {"AutoTokenizer": "mine.T"}}'),
        ):
            (repository / name).parent.mkdir(parents=True)
            (repository / name).write_text(text)

    monkeypatch.setattr(PPOTrainerSync, "_init_tokenizer", fetch)
    with pytest.raises(ValueError, match=r"model\.path=own/model brings its own code"):
        trainer._init_tokenizer()
