"""The teacher's prompts of a batch: once per problem, or once per rollout where rollouts are shown.

`queue.read` is replaced: TransferQueue needs Ray, and the runs in tests/stack go through the real one.
"""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.config import TeacherConfig
from verl_egrsd.rows import Row
from verl_egrsd.teacher.attempts import Attempts
from verl_egrsd.teacher.context import PrivilegedContext, TeacherPrompt
from verl_egrsd.teacher.steering import STEERING_PROMPTS
from verl_egrsd.trainer import queue
from verl_egrsd.trainer.prompts import teacher_prompts

RESPONSES = ("7+5=12, right", "8+1=9", "7+5=13, wrong", "8+1=9, so 9", "8+1=9 and cut", "7+5=12, right")
"""Rollouts of the problems a, b, a, b, b, and a padding row that verl copied from the first."""
UIDS = ("a", "b", "a", "b", "b", "pad")
SCORES = (1.0, 1.0, 0.4, 0.7, 0.0, 1.0)
CUT = 4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def context_of(tokenizer):
    """Builds the context of a template."""

    def build(**teacher: Any) -> PrivilegedContext:
        return PrivilegedContext.from_config(tokenizer, TeacherConfig(**teacher), {"enable_thinking": True})

    return build


@pytest.fixture
def batch(tokenizer, context_of, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    first, second = generate_rows("train", 2, seed=0)
    rows = [second if uid == "b" else first for uid in UIDS]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in RESPONSES]
    ended = [row if i == CUT else [*row, tokenizer.eos_token_id] for i, row in enumerate(ids)]
    prompt_ids = [context_of().student_prompt_ids(row["prompt"]) for row in rows]
    data = {
        "uid": list(UIDS),
        "raw_prompt": [row["prompt"] for row in rows],
        "extra_info": [row["extra_info"] for row in rows],
        "reward_model": [row["reward_model"] for row in rows],
        "prompts": queue.jagged([torch.tensor(row) for row in prompt_ids]),
        "responses": queue.jagged([torch.tensor(row) for row in ended]),
        "rm_scores": queue.jagged(
            [torch.tensor([0.0] * (len(row) - 1) + [score]) for row, score in zip(ended, SCORES, strict=True)]
        ),
    }
    monkeypatch.setattr(queue, "read", lambda batch, fields: {name: data[name] for name in fields})
    return SimpleNamespace(tags=[{}] * 5 + [{"is_padding": True}], data=data)


def prompts_of(batch, context: PrivilegedContext, **settings: Any) -> tuple[list[str], dict[str, float]]:
    """The privileged prompts as text, and the metrics."""
    ends = [context.tokenizer.eos_token_id]
    columns, metrics = teacher_prompts(batch, context, **{"ends": ends, "correct_above": 0.5} | settings)
    assert all(len(rows[5]) == 1 for rows in columns.values())
    return [context.tokenizer.decode(row) for row in columns["teacher_prompts"]], metrics


def shown(text: str) -> str:
    """What stands between the marks of a template."""
    return text.split(" ===\n")[1].split("\n===")[0]


def test_a_prompt_of_the_row_is_built_once_per_problem(batch, context_of, monkeypatch):
    built = Counter[int]()
    build = PrivilegedContext.teacher_prompt

    def counted(self, messages: list[dict], row: Row, rollouts: Attempts | None = None) -> TeacherPrompt:
        built[row["extra_info"]["index"]] += 1
        assert rollouts is None
        return build(self, messages, row, rollouts)

    monkeypatch.setattr(PrivilegedContext, "teacher_prompt", counted)
    texts, metrics = prompts_of(batch, context_of())
    assert built == {0: 1, 1: 1}
    assert texts[0] == texts[2] != texts[1] == texts[3] == texts[4]
    assert [shown(text) for text in texts[:2]] == [row["solution"] for row in batch.data["extra_info"][:2]]
    assert metrics == {}


def test_a_rollout_that_did_not_start_from_the_rendered_prompt_is_refused_by_row(batch, context_of):
    prompts = list(batch.data["prompts"].unbind())
    prompts[1] = prompts[1][3:]
    batch.data["prompts"] = queue.jagged(prompts)
    with pytest.raises(RuntimeError, match=r"row 1 did not start from the rendered prompt: .*truncated"):
        prompts_of(batch, context_of())


def test_a_reflection_shows_each_rollout_its_own_text_and_verdict(batch, context_of):
    texts, metrics = prompts_of(batch, context_of(template="reflection"))
    assert [shown(text) for text in texts[:5]] == list(RESPONSES[:5])
    verdicts = [text.split("=== end attempt ===\n")[1].partition("\n")[0] for text in texts[:5]]
    right, wrong = "Its final answer is correct.", "Its final answer is wrong."
    assert verdicts == [right, right, wrong, right, verdicts[CUT]]
    assert verdicts[CUT].startswith("It was cut off")
    assert metrics == {"egrsd/context/shortened": 0.0}


def test_correct_in_a_prompt_is_what_is_correct_in_the_reward(batch, context_of):
    texts, _ = prompts_of(batch, context_of(template="reflection"), correct_above=0.8)
    assert ["is correct" in text for text in texts[:5]] == [True, True, False, False, False]


def test_a_sibling_is_another_correct_rollout_of_the_same_prompt(batch, context_of):
    texts, metrics = prompts_of(batch, context_of(template="sibling", without_sibling="reference_solution"))
    chosen = [RESPONSES[3], RESPONSES[0], RESPONSES[1], RESPONSES[1]]
    assert [shown(text) for text in texts[1:5]] == chosen
    # The only correct rollout of problem a has no sibling: the padding row beside it is none.
    assert shown(texts[0]) == batch.data["extra_info"][0]["solution"]
    assert metrics == {"egrsd/context/without_sibling": 0.2, "egrsd/context/shortened": 0.0}


def test_a_sibling_of_the_data_is_shown_to_every_rollout_of_its_prompt(batch, context_of):
    for info in batch.data["extra_info"]:
        info["sibling"] = f"the sample of row {info['index']}"
    text = "<<task>>\n=== begin ===\n<<extra_info.sibling>>\n=== end ==="
    texts, metrics = prompts_of(batch, context_of(template="mine", template_text=text))
    samples = [f"the sample of row {0 if uid == 'a' else 1}" for uid in UIDS[:5]]
    assert [shown(text) for text in texts[:5]] == samples
    assert metrics == {}


def test_a_steered_teacher_has_a_prompt_with_a_correct_and_one_with_a_wrong_rollout(batch, context_of):
    context = context_of(template="none", steering=3.0, steering_steps=1)
    columns, metrics = teacher_prompts(
        batch, context, ends=[context.tokenizer.eos_token_id], correct_above=0.5
    )
    right, wrong = ([context.tokenizer.decode(row) for row in columns[name]] for name in STEERING_PROMPTS)
    # The correct rollout of problem a has no correct sibling; the wrong ones of both problems are alone.
    assert [len(columns[name][i]) for name in STEERING_PROMPTS for i in (0, 5)] == [1, 1, 1, 1]
    assert [shown(text) for text in right[1:5]] == [RESPONSES[i] for i in (3, 0, 1, 1)]
    assert [shown(text) for text in wrong[1:5]] == [RESPONSES[i] for i in (4, 2, 4, 4)]
    assert all("is correct" in text for text in right[1:5])
    assert not any("is correct" in text for text in wrong[1:5])
    assert metrics == {"egrsd/context/shortened": 0.0, "egrsd/context/steered": 0.8}
    assert "attempt" not in context.tokenizer.decode(columns["teacher_prompts"][1])


def test_rollouts_that_lose_their_middle_are_counted(batch, context_of):
    texts, metrics = prompts_of(batch, replace(context_of(template="reflection"), max_rollout_tokens=9))
    assert metrics == {"egrsd/context/shortened": 0.6}
    assert ["the middle is left out" in text for text in texts[:5]] == [True, False, True, False, True]


def test_rollouts_that_lose_their_middle_are_counted_where_they_steer_the_teacher(batch, context_of):
    context = context_of(template="none", steering=3.0, steering_steps=1)
    context = replace(context, steering=replace(context.steering, max_rollout_tokens=9))
    columns, metrics = teacher_prompts(
        batch, context, ends=[context.tokenizer.eos_token_id], correct_above=0.5
    )
    sides = [[context.tokenizer.decode(row) for row in columns[name]] for name in STEERING_PROMPTS]
    lost = ["the middle is left out" in right + wrong for right, wrong in zip(*sides, strict=True)]
    assert metrics == {"egrsd/context/shortened": sum(lost) / 5, "egrsd/context/steered": 0.8}
    assert 0 < sum(lost) < 5
