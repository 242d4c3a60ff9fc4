"""Prompts are those of the training; tests/reward/test_reasoning.py compares the verdicts too."""

import pytest
from transformers import AutoTokenizer

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.evaluation.prompts import PromptRenderer
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.templates import get_template

MESSAGES = generate_rows("validation", 1, seed=0)[0]["prompt"]


@pytest.fixture
def folder(tmp_path):
    build_small_tokenizer(tmp_path).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("thinking", [True, False])
def test_a_prompt_is_the_one_that_the_student_is_trained_on(folder, thinking):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    context = PrivilegedContext(tokenizer, get_template("none"), {"enable_thinking": thinking})
    prompt = PromptRenderer(folder, thinking=thinking)(MESSAGES)
    assert prompt.ids == context.student_prompt_ids(MESSAGES)
    assert not prompt.inside_reasoning
