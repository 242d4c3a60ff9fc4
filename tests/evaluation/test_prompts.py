"""Prompts are those of the training; tests/reward/test_reasoning.py compares the verdicts too."""

from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from recipes.rehearsal.task import generate_rows
from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.config import TeacherConfig
from verl_egrsd.evaluation.privileged import privileged_fields
from verl_egrsd.evaluation.problems import Problem
from verl_egrsd.evaluation.prompts import PromptRenderer
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.placebo import with_other_solutions
from verl_egrsd.teacher.templates import TEMPLATES, Template, get_template

ROWS = generate_rows("validation", 8, seed=0)
MESSAGES = ROWS[0]["prompt"]
PROBLEM = Problem("p", 0, MESSAGES, "7")


@pytest.fixture
def folder(tmp_path):
    build_small_tokenizer(tmp_path).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("thinking", [True, False])
def test_a_prompt_is_the_one_that_the_student_is_trained_on(folder, thinking):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    context = PrivilegedContext(tokenizer, get_template("none"), {"enable_thinking": thinking})
    prompt = PromptRenderer(folder, thinking=thinking)(PROBLEM)
    assert prompt.ids == context.student_prompt_ids(MESSAGES)
    assert not prompt.inside_reasoning


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("name", ["reference_solution", "wrong_solution", "shuffled_solution", "concise"])
def test_a_prompt_of_a_template_is_the_one_that_the_teacher_reads(folder, name, thinking):
    template, flags = get_template(name), {"enable_thinking": thinking}
    rows = [
        row | {"extra_info": row["extra_info"] | {"solution": f"So </think> {i}."}}
        for i, row in enumerate(ROWS)
    ]
    render = PromptRenderer(folder, thinking=thinking, template=template)
    shown = privileged_fields(rows, template, "a file")
    found = [
        render(replace(PROBLEM, messages=row["prompt"], privileged=fields)).ids
        for row, fields in zip(rows, shown, strict=True)
    ]
    context = PrivilegedContext.from_config(
        AutoTokenizer.from_pretrained(folder), TeacherConfig(template=name, enable_thinking=thinking), flags
    )
    if name == "wrong_solution":
        rows = list(with_other_solutions(rows, context.placebo_seed))
    assert found == [context.teacher_prompt_ids(row["prompt"], row) for row in rows]
    assert found[0] != PromptRenderer(folder, thinking=thinking)(PROBLEM).ids


def test_the_template_without_privileged_text_gives_the_students_prompt(folder):
    render = PromptRenderer(folder, thinking=True, template=TEMPLATES["none"])
    assert render(replace(PROBLEM, privileged={})) == PromptRenderer(folder, thinking=True)(PROBLEM)


def test_a_field_that_the_problem_lacks_is_named(folder):
    render = PromptRenderer(folder, thinking=True, template=Template("<<task>> <<extra_info.hint>>"))
    with pytest.raises(ValueError, match=r"extra_info.hint of row"):
        render(PROBLEM)
