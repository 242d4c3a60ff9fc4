"""Prompts are measured as the trainer renders them."""

from copy import copy

import pytest

from data_prep.lengths import PromptLengths, training_settings
from data_prep.rows import to_row
from data_prep.stages import Dropped
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher.context import PrivilegedContext

ROWS = [
    to_row(
        data_source="sums",
        problem=problem,
        solution=solution,
        answer="5",
        index=0,
        split="train",
        source="",
    )
    for problem, solution in [("2 + 3 = ?", "5"), ("2 + 3 = ?" * 9, "5"), ("2 + 3 = ?", "2 + 3 = 5 " * 9)]
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def lengths(tokenizer, **limits):
    settings = {"student_limit": 10**6, "teacher_limit": 10**6, "characters_per_token": 2} | limits
    return PromptLengths(
        tokenizer, template="reference_solution", student_thinks=False, teacher_thinks=True, **settings
    )


def test_lengths_are_those_of_the_trainers_prompts(tokenizer):
    context = PrivilegedContext.from_config(
        tokenizer, TeacherConfig(enable_thinking=True), {"enable_thinking": False}
    )
    for row, measured in zip(ROWS, lengths(tokenizer)(ROWS), strict=True):
        assert measured["extra_info"]["lengths"] == {
            "student": len(context.student_prompt_ids(row["prompt"])),
            "teacher": len(context.teacher_prompt_ids(row["prompt"], row)),
            "unit": "tokens",
        }


def test_each_prompt_has_a_limit_of_its_own_which_is_still_allowed(tokenizer):
    short, long_problem, long_solution = (row["extra_info"]["lengths"] for row in lengths(tokenizer)(ROWS))
    limited = lengths(tokenizer, student_limit=short["student"])(ROWS)
    assert [isinstance(row, Dropped) for row in limited] == [False, True, False]
    assert limited[1] == Dropped("the student's prompt is too long")
    limited = lengths(tokenizer, teacher_limit=long_problem["teacher"])(ROWS)
    assert long_solution["teacher"] > long_problem["teacher"]
    assert limited[2] == Dropped("the teacher's prompt is too long")
    assert not isinstance(limited[1], Dropped)


def test_without_a_tokenizer_characters_are_counted_and_limited():
    row = ROWS[0]
    prompt = len(row["prompt"][-1]["content"])
    (measured,) = lengths(None)([row])
    assert measured["extra_info"]["lengths"]["student"] == prompt
    assert measured["extra_info"]["lengths"]["unit"] == "characters"
    tokens = -(-prompt // 2)
    assert not isinstance(lengths(None, student_limit=tokens)([row])[0], Dropped)
    assert isinstance(lengths(None, student_limit=tokens - 1)([row])[0], Dropped)


def test_dropped_rows_are_measured_too(tokenizer):
    measure = lengths(tokenizer, student_limit=1)
    assert all(isinstance(row, Dropped) for row in measure(ROWS))
    assert len(measure.measured) == len(ROWS)


def test_the_limits_are_those_of_the_training_configuration():
    assert training_settings()["data"]["max_prompt_length"] > 0
    assert training_settings()["actor_rollout_ref"]["teacher"]["max_prompt_length"] > 0


def test_a_row_that_the_chat_template_does_not_render_is_dropped_and_named(tokenizer):
    class Choosy(type(tokenizer)):
        def apply_chat_template(self, messages, **settings):
            if "☃" in messages[-1]["content"]:
                raise ValueError("no snowmen")
            return super().apply_chat_template(messages, **settings)

    choosy = copy(tokenizer)
    choosy.__class__ = Choosy
    bad = ROWS[0] | {"prompt": [{"role": "user", "content": "How cold is ☃?"}]}
    results = lengths(choosy)([ROWS[0], bad, ROWS[2]])
    assert results[1] == Dropped("the chat template does not render its prompts")
    assert results[1].example == "row 0: no snowmen"
    plain = lengths(tokenizer)([ROWS[0], ROWS[2]])
    assert [results[0], results[2]] == plain
