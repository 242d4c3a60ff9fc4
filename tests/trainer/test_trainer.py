"""What the trainer checks and builds between verl's steps, without verl's workers.

`queue.read` is replaced: TransferQueue needs Ray, and the runs in tests/stack go through the real one.
"""

from collections import Counter
from copy import copy
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.config import EgrsdConfig, TeacherConfig
from verl_egrsd.credit import policy_loss
from verl_egrsd.rollouts.outcome import Caps, OutcomeWarnings
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.estimators import completed_by_trainer, length_shaped_estimator
from verl_egrsd.trainer.losses import egrsd_loss
from verl_egrsd.trainer.prompts import may_think_less, teacher_prompts
from verl_egrsd.trainer.sync import EgrsdTrainer

THINKING = {"enable_thinking": True}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> PrivilegedContext:
    tokenizer = build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return PrivilegedContext.from_config(tokenizer, TeacherConfig(), THINKING)


class CountingContext:
    """Counts how often each privileged prompt is built."""

    def __init__(self, context: PrivilegedContext) -> None:
        self.context, self.built = context, Counter[int]()

    def student_prompt_ids(self, messages: list[dict]) -> list[int]:
        return self.context.student_prompt_ids(messages)

    def as_of_yesterday(self) -> PrivilegedContext:
        return self.context.as_of_yesterday()

    def teacher_prompt_ids(self, messages: list[dict], row: dict[str, Any]) -> list[int]:
        self.built[row["extra_info"]["index"]] += 1
        return self.context.teacher_prompt_ids(messages, row)


@pytest.fixture
def trainer(context: PrivilegedContext) -> EgrsdTrainer:
    trainer = EgrsdTrainer.__new__(EgrsdTrainer)
    trainer.context = CountingContext(context)
    return trainer


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
    monkeypatch.setattr(queue, "read", lambda batch, fields: {name: data[name] for name in fields})
    return SimpleNamespace(tags=[{}, {}, {}, {}, {"is_padding": True}], data=data)


def test_a_privileged_prompt_is_built_once_per_problem_and_not_once_per_rollout(trainer, batch, context):
    prompts = teacher_prompts(batch, trainer.context)
    assert set(trainer.context.built.values()) == {1}
    assert len(trainer.context.built) == 2
    row = {name: batch.data[name][1] for name in ("extra_info", "reward_model")}
    expected = context.teacher_prompt_ids(batch.data["raw_prompt"][1], row)
    assert prompts[1].tolist() == prompts[3].tolist() == expected
    assert batch.data["extra_info"][1]["solution"] in context.tokenizer.decode(prompts[1])
    assert len(prompts[4]) == 1


def test_a_rollout_that_did_not_start_from_the_rendered_prompt_is_refused_by_row(trainer, batch):
    prompts = list(batch.data["prompts"].unbind())
    prompts[1] = prompts[1][3:]
    batch.data["prompts"] = queue.jagged(prompts)
    with pytest.raises(RuntimeError, match=r"row 1 did not start from the rendered prompt: .*truncated"):
        teacher_prompts(batch, trainer.context)


def test_a_score_that_is_not_finite_names_the_column_and_the_prompt(trainer, batch):
    mask = torch.ones(4, 3, dtype=torch.bool)
    fine, broken = torch.zeros(4, 3), torch.zeros(4, 3)
    broken[3, 1] = torch.nan
    trainer._require_finite((fine, fine, fine), mask, batch)
    with pytest.raises(RuntimeError, match="teacher_entropy is not finite for 1 rollouts") as error:
        trainer._require_finite((fine, fine, broken), mask, batch)
    assert repr(batch.data["raw_prompt"][3][-1]["content"][:200]) in str(error.value)
    trainer._require_finite((fine, fine, broken), mask & ~broken.isnan(), batch)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_of_the_reward_function_that_is_not_finite_stops_the_step_with_row_and_value(
    trainer, batch, score
):
    trainer.outcomes = OutcomeWarnings(Caps(4, 8, None), 0.5)
    scores = [torch.tensor(row) for row in ([0.0, 1.0], [0.0], [0.0, 0.0, score], [1.0], [score])]
    batch.data["rm_scores"] = queue.jagged(scores)
    with pytest.raises(
        RuntimeError, match=rf"reward function's score is not finite .* first {score} for"
    ) as error:
        trainer._look_at_scores(batch)
    assert repr(batch.data["raw_prompt"][2][-1]["content"][:200]) in str(error.value)
    batch.data["rm_scores"] = queue.jagged([*scores[:2], scores[0], *scores[3:]])
    trainer._look_at_scores(batch)  # the last row is padding, whose score nobody uses


def test_what_becomes_of_scores_that_are_no_verdicts_is_said_from_the_real_rows(trainer, batch, caplog):
    trainer.outcomes = OutcomeWarnings(Caps(4, 8, None), 0.5)
    batch.data["rm_scores"] = queue.jagged(
        [torch.tensor([0.0, score]) for score in (0.1, 1.0, 0.1, 0.7, 5.0)]
    )
    trainer._look_at_scores(batch)
    (record,) = caplog.records
    assert "1 (1 rollouts), 0.7 (1) count as correct, 0.1 (2 rollouts) do not" in record.getMessage()


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


def estimated(scores: list[float], **settings: Any) -> list[float]:
    """Rewards of rollouts of 3 of at most 4 tokens, by score."""
    egrsd = EgrsdConfig(max_response_length=4, **settings)
    config = SimpleNamespace(adv_estimator="egrsd", egrsd=SimpleNamespace(**asdict(egrsd)))
    columns = torch.zeros(len(scores), 4)
    columns[:, 2] = torch.tensor(scores)
    mask = torch.tensor([[1, 1, 1, 0]]).expand_as(columns)
    with completed_by_trainer():
        rewards, _ = length_shaped_estimator(columns, mask, config, index=None)
    assert (rewards == rewards[:, :1] * mask).all()
    return rewards[:, 0].tolist()


def test_the_estimator_puts_the_length_shaped_reward_on_the_response_tokens():
    assert estimated([1.0, 0.0]) == [1.125, 0.0]


def test_what_is_correct_is_a_setting_and_a_format_bonus_is_not():
    scores = [1.1, 1.0, 0.7, 0.5, 0.1, 0.0, -1.0]
    assert [reward > 0 for reward in estimated(scores)] == [True, True, True, False, False, False, False]
    assert [reward > 0 for reward in estimated(scores, correct_above=0.9)] == [True, True] + [False] * 5
    assert all(reward > 0 for reward in estimated(scores, correct_above=-2.0))


def test_the_estimator_refuses_a_score_that_is_not_finite_by_row():
    with pytest.raises(ValueError, match=r"scores\[1\]=nan .* a finite number"):
        estimated([1.0, float("nan")])


def test_the_estimator_under_a_trainer_without_a_teacher_names_the_key_to_set():
    config = SimpleNamespace(adv_estimator="cl_egrsd")
    with pytest.raises(ValueError, match=r"cl_egrsd needs .*set trainer\.v1\.trainer_mode=egrsd_sync"):
        length_shaped_estimator(torch.zeros(1, 2), torch.ones(1, 2), config)


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
