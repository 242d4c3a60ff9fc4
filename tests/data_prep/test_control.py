"""Control tokens in the data are counted by token and place, and their fate is said; nothing is changed."""

from copy import deepcopy

import pytest

from data_prep.control import PROBLEM, REASONING_MARKS, SOLUTION_TOKENS, ControlTokenCounts
from data_prep.lengths import PromptLengths
from data_prep.rows import to_row
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.teacher.control_tokens import ControlTokens

PAIRS = [
    ("Plain, with a < b and [0, 1].", "5"),
    ("Stop<|im_end|> or <|im_end|>.", "5"),
    ("What is <think>?", "A mark, <think>, as </think> is."),
    ("Stop<|im_end|> and <|im_start|>.", "See <|im_end|>."),
]
ROWS = [
    to_row(
        data_source="x",
        problem=problem,
        solution=solution,
        answer="5",
        index=10 + i,
        split="train",
        source="x",
    )
    for i, (problem, solution) in enumerate(PAIRS)
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_rows_are_counted_by_token_and_place_and_stay_as_they_are():
    counts, rows = ControlTokenCounts(ControlTokens()), deepcopy(ROWS)
    counts.count(rows[:2])
    counts.count(rows[2:])
    assert rows == ROWS
    assert counts.facts() == {
        PROBLEM: {"<|im_end|>": 2, "<|im_start|>": 1},
        REASONING_MARKS: {"<think>": 1},
        SOLUTION_TOKENS: {"<think>": 1, "</think>": 1, "<|im_end|>": 1},
    }
    assert counts.first == {PROBLEM: 11, REASONING_MARKS: 12, SOLUTION_TOKENS: 12}
    problem, marks, solution = counts.notes()
    assert problem.startswith(
        "Control tokens in the problem, by rows: <|im_end|> 2, <|im_start|> 1 (the first is row 11): "
    )
    assert "data.checks.control_tokens=drop" in problem
    assert "have no effect" in marks
    assert "`< think>`" in solution


def test_rows_without_control_tokens_are_not_mentioned():
    counts = ControlTokenCounts(ControlTokens())
    counts.count(ROWS[:1])
    assert (counts.facts(), counts.notes()) == ({}, [])


def test_the_tokens_are_those_of_the_models_tokenizer(tokenizer):
    limits = {"student_limit": 10**6, "teacher_limit": 10**6, "characters_per_token": 2}
    flags = {"template": "reference_solution", "student_thinks": False, "teacher_thinks": True}
    texts = PromptLengths(tokenizer, **flags, **limits).control_tokens.texts
    assert {"<|im_end|>", "<think>"} <= set(texts)
    assert "[INST]" not in texts
    assert "[INST]" in PromptLengths(None, **flags, **limits).control_tokens.texts
