"""Templates: their words stay, filling alters nothing, and a wrong one is refused by key and mark."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from verl_egrsd.teacher.marks import ANSWER, KNOWN_MARKS, SOLUTION
from verl_egrsd.teacher.templates import TEMPLATES, Template, get_template, with_template_text

MATHS = st.text() | st.lists(
    st.sampled_from(
        ["<<task>>", "<<solution>>", "<<x>>", "{x}", "{}", "%s", "%", "\\g<1>", "\\1", "\\frac{1}{2}", " "]
    )
).map("".join)

STUDY = (
    "Study it until you see why each step holds. Then put it aside and solve the task yourself, in your own "
    "words and at your own pace, and finish in the form that the task asks for."
)


def worked(mark: str) -> str:
    return (
        "[task]\n\nBelow is a worked solution that is known to be correct.\n"
        f"=== begin reference solution ===\n[{mark}]\n=== end reference solution ===\n\n{STUDY}"
    )


RECORDED = {
    "reference_solution": worked("solution"),
    "answer_only": (
        "[task]\n\nThe final answer is known to be: [answer]\n\nFind the reasoning that leads there, in your "
        "own words, and finish in the form that the task asks for."
    ),
    "none": "[task]",
    "concise": (
        "[task]\n\nWork it out in as few words as the task allows: no detours, no second look at a step that "
        "holds, and nothing said twice. Keep every step that the answer rests on."
    ),
    "reflection": (
        "[task]\n\nBelow is an earlier attempt at this task.\n=== begin attempt ===\n[attempt]\n"
        "=== end attempt ===\n[verdict]\n\nConsider what it got right, where it went wrong and what it could "
        "have left out. Then put it aside and solve the task afresh, in your own words, and finish in the "
        "form that the task asks for."
    ),
    "sibling": (
        "[task]\n\nBelow is an attempt at this task that arrived at the correct answer.\n"
        f"=== begin correct attempt ===\n[sibling]\n=== end correct attempt ===\n\n{STUDY}"
    ),
    "english": (
        "[task]\n\nThe same problem in English:\n[extra_info.problem_en]\n\n"
        "Below is a worked solution in English that is known to be correct.\n"
        "=== begin reference solution ===\n[solution]\n=== end reference solution ===\n\n"
        + STUDY.replace("yourself, in", "yourself, in the language in which it was asked, in")
    ),
    "wrong_solution": worked("wrong_solution"),
    "shuffled_solution": worked("shuffled_solution"),
}
"""The teacher's turn under every template; the first three as in the runs of docs/evidence."""


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_words_of_a_template_are_those_that_were_recorded(name):
    marks = (*KNOWN_MARKS, *TEMPLATES[name].marks)
    assert TEMPLATES[name].fill({mark: f"[{mark}]" for mark in marks}) == RECORDED[name]


@settings(deadline=None)
@given(task=MATHS, solution=MATHS)
def test_what_is_filled_in_survives_untouched(task, solution):
    before, after = "Task:\n", "\n100% sure {as ever}:\n"
    template = Template(f"{before}<<task>>{after}<<solution>>")
    assert template.fill({"task": task, "solution": solution}) == before + task + after + solution


@pytest.mark.parametrize(
    ("text", "fields", "rollouts"),
    [
        ("<<task>>", (), 0),
        ("<<solution>> <<task>> <<answer>>", (SOLUTION, ANSWER), 0),
        ("<<task>> <<shuffled_solution>> <<wrong_solution>>", (SOLUTION,), 0),
        ("<<task>> <<verdict>>", (), 0),
        ("<<task>> <<attempt>> <<attempt>> <<sibling>> <<answer>>", (ANSWER,), 3),
    ],
)
def test_the_marks_say_what_a_row_needs_and_how_many_rollouts_are_shown(text, fields, rollouts):
    template = Template(text)
    assert (template.fields, template.rollouts_shown) == (fields, rollouts)
    assert template.reads_rollouts == ("attempt" in text or "verdict" in text)


def test_a_mark_may_name_any_field_of_a_column():
    (field,) = Template("<<task>> <<extra_info.problem_de>> <<extra_info.problem_de>>").fields
    assert (field.column, field.key) == ("extra_info", "problem_de")


@pytest.mark.parametrize("mark", ["reference", "oracle", "extra_info", "extra_info.", "problem.de", "Task"])
def test_an_unknown_mark_is_named_with_the_key_and_the_known_marks(mark):
    with pytest.raises(
        ValueError, match=rf"teacher\.template_text has the unknown mark <<{mark}>>"
    ) as refused:
        get_template("mine", f"<<task>> <<{mark}>>")
    assert all(f"<<{known}>>" in str(refused.value) for known in KNOWN_MARKS)


@pytest.mark.parametrize("text", ["", "<<solution>>", "<< task >>"])
def test_a_template_that_would_lose_the_task_is_refused(text):
    with pytest.raises(ValueError, match="lacks the mark <<task>>"):
        Template(text)


def test_an_unknown_template_lists_the_known_ones_and_how_to_write_one():
    with pytest.raises(
        ValueError, match=r"teacher\.template='oracle' is unknown; known templates: .*path of a text file"
    ) as refused:
        get_template("oracle")
    assert all(name in str(refused.value) for name in TEMPLATES)


def test_a_file_is_read_once_and_its_text_stands_in_the_settings(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("<<task>>\nGröße: <<answer>>\n", encoding="utf-8")
    once = with_template_text({"template": str(path), "header": "own"})
    assert once == {"template": "mine.txt", "template_text": "<<task>>\nGröße: <<answer>>", "header": "own"}
    path.unlink()
    assert with_template_text(once) == once
    assert get_template(once["template"], once["template_text"]).fields == (ANSWER,)


def test_a_file_that_is_not_there_is_named_with_the_known_templates(tmp_path):
    with pytest.raises(ValueError, match=r"template=\./mine\.txt: there is no such file below .*answer_only"):
        with_template_text({"template": "./mine.txt"})


def test_a_text_is_a_template_under_any_name_but_that_of_another_one():
    text = "<<task>> 1"
    assert with_template_text({"template_text": text})["template"] == "custom"
    assert with_template_text({"template": "mine", "template_text": text})["template"] == "mine"
    with pytest.raises(ValueError, match=r"template=none and .*template_text='<<task>> 1' are two templates"):
        with_template_text({"template": "none", "template_text": text})


def test_names_and_nothing_are_left_as_they_are():
    for given_settings in ({}, {"template": None}, {"template": "answer_only"}, {"template": "oracle"}):
        assert with_template_text(given_settings) == given_settings


def test_a_text_that_the_configuration_would_change_is_refused():
    text = "<<task>> so ${x}$"
    with pytest.raises(ValueError, match=re.escape("template_text holds '${'")):
        get_template("mine", text)
    kept = "<<task>> so $ {x}$ and \\frac{1}{2} $x$"
    assert OmegaConf.to_container(OmegaConf.create({"text": kept}), resolve=True) == {"text": kept}
