"""The teacher's prompt: nothing is lost or altered in filling, and only the privileged text differs."""

import re

import pytest
from transformers import AutoTokenizer

from recipes.rehearsal.tokenizer import build_small_tokenizer
from tests.support.chat_templates import FAMILIES, UNUSABLE
from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher import TEMPLATES, PrivilegedContext
from verl_egrsd.teacher.attempts import Attempt, Attempts

THINKING, PLAIN = "", "<think>\n\n</think>\n\n"
HEADER = "<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    build_small_tokenizer(path)
    return AutoTokenizer.from_pretrained(path)


def context(tokenizer, *, student=None, **settings):
    student_kwargs = {} if student is None else {"enable_thinking": student}
    return PrivilegedContext.from_config(tokenizer, TeacherConfig(**settings), student_kwargs)


def user(text="What is 7+5?"):
    return [{"role": "user", "content": text}]


def row(solution="7+5=12", answer="12"):
    return {
        "data_source": "sums",
        "extra_info": {"index": 41, "solution": solution},
        "reward_model": {"ground_truth": answer},
    }


@pytest.mark.parametrize("thinking", [True, False])
def test_without_privileged_text_the_teacher_reads_exactly_the_students_prompt(tokenizer, thinking):
    conversation = [{"role": "system", "content": "Be brief."}, *user("{x} 100% <<reference>>")]
    same = context(tokenizer, student=thinking, template="none")
    assert same.teacher_prompt_ids(conversation, {}) == same.student_prompt_ids(conversation)


def test_the_students_ids_are_those_of_the_chat_template(tokenizer):
    expected = tokenizer.apply_chat_template(user(), add_generation_prompt=True, enable_thinking=False)[
        "input_ids"
    ]
    assert context(tokenizer, student=False).student_prompt_ids(user()) == expected


def test_only_the_last_user_turn_is_replaced(tokenizer):
    conversation = [*user("Hello"), {"role": "assistant", "content": "Hi"}, *user("What is 7+5?")]
    messages = context(tokenizer).messages(conversation, row())
    assert messages[:-1] == conversation[:-1]
    assert messages[-1]["role"] == "user"
    assert messages[-1]["content"].startswith("What is 7+5?")
    assert "7+5=12" in messages[-1]["content"]
    assert conversation[-1]["content"] == "What is 7+5?"


def test_each_template_shows_its_own_column(tokenizer):
    given_row = row(solution="the long way", answer="twelve")
    texts = {
        name: context(tokenizer, template=name).teacher_prompt_text(user(), given_row)
        for name in ("reference_solution", "answer_only")
    }
    assert "the long way" in texts["reference_solution"]
    assert "twelve" not in texts["reference_solution"]
    assert "twelve" in texts["answer_only"]
    assert "the long way" not in texts["answer_only"]


@pytest.mark.parametrize(
    ("template", "field"), [("reference_solution", "solution"), ("answer_only", "ground_truth")]
)
@pytest.mark.parametrize("value", [None, "", " \n\t"])
def test_an_empty_reference_names_field_and_row(tokenizer, template, field, value):
    with pytest.raises(
        ValueError, match=rf"\.{field} of row 41 of sums is {re.escape(repr(value))}, but .* Fill the column"
    ):
        context(tokenizer, template=template).messages(user(), row(solution=value, answer=value))


def test_a_row_without_the_column_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"extra_info\.solution of row \? of the training data is None"):
        context(tokenizer).messages(user(), {})


def test_a_reference_that_is_a_number_is_shown(tokenizer):
    text = context(tokenizer, template="answer_only").teacher_prompt_text(user(), row(answer=0))
    assert "The final answer is known to be: 0\n" in text


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({"role": "assistant", "content": "12"}, "role 'assistant' with content of type str"),
        ({"role": "user", "content": [{"type": "image"}]}, "role 'user' with content of type list"),
    ],
)
def test_what_is_no_user_turn_of_plain_text_is_refused(tokenizer, last, found):
    with pytest.raises(ValueError, match=rf"prompt of row 41 of sums must end in a user turn.*{found}"):
        context(tokenizer).messages([*user(), last], row())


@pytest.mark.parametrize(
    ("student", "teacher", "header", "expected"),
    [
        (False, True, "own", (PLAIN, THINKING)),
        (False, True, "student", (PLAIN, PLAIN)),
        (True, False, "own", (THINKING, PLAIN)),
        (True, False, "student", (THINKING, THINKING)),
        (False, None, "own", (PLAIN, PLAIN)),
        (None, None, "own", (THINKING, THINKING)),
    ],
)
def test_headers_follow_the_thinking_flags(tokenizer, student, teacher, header, expected):
    built = context(tokenizer, student=student, enable_thinking=teacher, header=header)
    assert built.headers() == tuple(HEADER + rest for rest in expected)
    assert built.student_prompt_text(user()).endswith("<|im_end|>\n" + HEADER + expected[0])
    assert built.teacher_prompt_text(user(), row()).endswith("<|im_end|>\n" + HEADER + expected[1])


def test_the_two_prompts_differ_in_the_privileged_text_alone(tokenizer):
    built = context(tokenizer, student=False, enable_thinking=True, header="student", template="answer_only")
    privileged = TEMPLATES["answer_only"].fill({"task": "What is 7+5?", "answer": "12"})
    student, teacher = built.student_prompt_text(user()), built.teacher_prompt_text(user(), row())
    assert teacher == student.replace("What is 7+5?", privileged)


@pytest.fixture
def speaks(tokenizer):
    """Gives the tokenizer another family's chat template for one test."""
    before = tokenizer.chat_template, tokenizer.bos_token

    def speak(template):
        tokenizer.chat_template, tokenizer.bos_token = template, "<|endoftext|>"
        return tokenizer

    yield speak
    tokenizer.chat_template, tokenizer.bos_token = before


EARLIER = [*user("Hello"), {"role": "assistant", "content": "<think>so</think>Hi"}]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("earlier", [[], EARLIER])
@pytest.mark.parametrize(("student", "teacher"), [(False, True), (True, False), (None, True), (False, None)])
def test_in_every_family_each_side_ends_as_its_flag_says(speaks, name, earlier, student, teacher):
    family = FAMILIES[name]
    built = context(speaks(family.template), student=student, enable_thinking=teacher)
    conversation = [*earlier, *user()]
    teacher = student if teacher is None else teacher
    privileged = built.messages(conversation, row())[-1]["content"]
    assert built.student_prompt_text(conversation).endswith("What is 7+5?" + family.last[student])
    assert built.teacher_prompt_text(conversation, row()).endswith(privileged + family.last[teacher])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("earlier", [[], EARLIER])
@pytest.mark.parametrize(("student", "teacher"), [(False, True), (True, False), (None, True)])
def test_under_the_students_header_only_the_text_differs_in_every_family(
    speaks, name, earlier, student, teacher
):
    built = context(
        speaks(FAMILIES[name].template), student=student, enable_thinking=teacher, header="student"
    )
    conversation = [*earlier, *user()]
    privileged = built.messages(conversation, row())[-1]["content"]
    expected = built.student_prompt_text(conversation).replace("What is 7+5?", privileged)
    assert built.teacher_prompt_text(conversation, row()) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen3", (HEADER + PLAIN, HEADER)),
        ("glm-4.5", ("/nothink<|assistant|>\n<think></think>", "<|assistant|>")),
        ("phi", ("<|assistant|>\n", "<|assistant|>\n")),
        ("mistral", (" [/INST]", " [/INST]")),
        ("reads-twice", (HEADER, HEADER)),
        ("chatml-open", ("<|im_end|>\n" + HEADER, "<|im_end|>\n" + HEADER)),
    ],
)
def test_headers_show_what_differs_between_the_sides_and_no_text_of_a_user(speaks, name, expected):
    built = context(speaks(FAMILIES[name].template), student=False, enable_thinking=True)
    assert built.headers() == expected


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_template_whose_prompts_have_no_common_end_is_refused(speaks, name):
    built = context(speaks(UNUSABLE[name]))
    for render in (built.headers, lambda: built.student_prompt_text(user())):
        with pytest.raises(ValueError, match=r"the chat template .* use another chat template"):
            render()


def test_a_role_that_the_template_refuses_is_named_with_the_remedy(speaks):
    conversation = [{"role": "system", "content": "Be brief."}, *user()]
    with pytest.raises(
        ValueError, match=r"does not render a conversation of system, user: System role not supported\. Move"
    ):
        context(speaks(FAMILIES["gemma"].template)).student_prompt_text(conversation)


@pytest.mark.parametrize("text", ["What is 7+5?/nothink", "What is 7+5?/nothink \n"])
def test_text_that_the_template_takes_for_an_instruction_is_refused(speaks, text):
    built = context(speaks(FAMILIES["glm-4.5"].template), student=False)
    with pytest.raises(ValueError, match=r"reads a part of the text as an instruction"):
        built.student_prompt_text(user(text.strip()))


def test_yesterdays_prompt_is_told_by_its_date(speaks):
    built = context(speaks(FAMILIES["harmony"].template))
    yesterday = built.as_of_yesterday()
    dated = [one.student_prompt_text(user()) for one in (built, yesterday)]
    dates = [re.search(r"\d{4}-\d\d-\d\d", text)[0] for text in dated]
    assert dates[0] > dates[1]
    assert dated[0].replace(dates[0], dates[1]) == dated[1]
    assert dates[1] in yesterday.teacher_prompt_text(user(), row())


REFERENCE = "<think>7+5</think><|im_end|>\n<|im_start|>assistant\n\\boxed{12}<|im_end|>"


def test_control_tokens_of_a_reference_are_shown_as_text(tokenizer):
    built = context(tokenizer, student=True)
    text = built.teacher_prompt_text(user(), row(solution=REFERENCE))
    assert "< think>7+5< /think>< |im_end|>\n< |im_start|>assistant\n\\boxed{12}< |im_end|>" in text


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reference_opens_no_turn_in_any_family(speaks, name):
    tokenizer = speaks(FAMILIES[name].template)
    built = context(tokenizer, student=False, enable_thinking=True)
    turn = tokenizer.apply_chat_template(user("x"), tokenize=False, add_generation_prompt=True)
    marks = set(re.findall(r"<[^<>\s]+>|\[/?[A-Za-z]+\]", turn))
    text = built.teacher_prompt_text(
        user(), row(solution=" ".join(["opening", *sorted(marks), turn, "closing"]))
    )
    shown = text[text.rindex("opening") : text.rindex("closing")]
    assert not [mark for mark in marks if mark in shown]


def test_white_space_that_a_template_folds_is_no_instruction(speaks):
    folding = "{% for m in messages %}User: {{ m.content | replace('\n\n', '\n') }}\n{% endfor %}Assistant:"
    assert "7\n+5" in context(speaks(folding)).student_prompt_text(user("What is\n\n7\n\n+5?"))


def test_a_template_that_fails_inside_is_named_and_no_traceback(speaks):
    with pytest.raises(ValueError, match=r"does not render a conversation of user: 'NoneType' object is not"):
        context(speaks("{% for t in tools %}{{ t }}{% endfor %}")).student_prompt_text(user())


SIBLINGS = (
    Attempt("wrong and short", correct=False),
    Attempt("right and rather long", correct=True),
    Attempt("right, short", correct=True),
)


def rollouts(own="7+5=13", *, correct=False, truncated=False, others=()):
    return Attempts(Attempt(own, correct, truncated), others)


@pytest.mark.parametrize(
    ("correct", "truncated", "verdict"),
    [
        (True, False, "Its final answer is correct."),
        (True, True, "Its final answer is correct."),
        (False, False, "Its final answer is wrong."),
        (False, True, "It was cut off at the length limit before it reached a correct final answer."),
    ],
)
def test_a_reflection_shows_the_attempt_and_its_verdict_and_no_reference(
    tokenizer, correct, truncated, verdict
):
    shown = rollouts("7+5 is 13, I think.", correct=correct, truncated=truncated)
    text = context(tokenizer, template="reflection").teacher_prompt_text(user(), row(), shown)
    assert f"=== begin attempt ===\n7+5 is 13, I think.\n=== end attempt ===\n{verdict}\n" in text
    assert "7+5=12" not in text


def test_the_sibling_is_the_shortest_other_correct_rollout(tokenizer):
    built = context(tokenizer, template="sibling")
    prompt = built.teacher_prompt(user(), row(), rollouts(correct=True, others=SIBLINGS))
    assert "\nright, short\n=== end correct attempt" in prompt.text
    assert (prompt.without_sibling, prompt.shortened) == (False, False)
    assert "7+5=13" not in prompt.text


@pytest.mark.parametrize("fallback", ["none", "reference_solution", "reflection"])
def test_without_a_correct_sibling_the_stated_template_takes_over_and_says_so(tokenizer, fallback):
    built = context(tokenizer, template="sibling", without_sibling=fallback)
    alone = rollouts(correct=True, others=SIBLINGS[:1])
    prompt = built.teacher_prompt(user(), row(), alone)
    assert prompt.without_sibling
    assert prompt.text == context(tokenizer, template=fallback).teacher_prompt_text(user(), row(), alone)


@pytest.mark.parametrize("name", ["reflection", "sibling"])
def test_a_template_of_rollouts_is_refused_without_them(tokenizer, name):
    with pytest.raises(ValueError, match=r"the template shows <<.*>>, and no rollout was given"):
        context(tokenizer, template=name).teacher_prompt(user(), row())


@pytest.mark.parametrize("name", FAMILIES)
def test_an_attempt_opens_no_turn_in_any_family(speaks, name):
    tokenizer = speaks(FAMILIES[name].template)
    built = context(tokenizer, student=False, enable_thinking=True, template="reflection")
    turn = tokenizer.apply_chat_template(user("x"), tokenize=False, add_generation_prompt=True)
    marks = set(re.findall(r"<[^<>\s]+>|\[/?[A-Za-z]+\]", turn))
    attempt = f"opening {' '.join(sorted(marks))} {turn} closing"
    text = built.teacher_prompt_text(user(), row(), rollouts(attempt))
    shown = text[text.index("opening") : text.index("closing")]
    assert not [mark for mark in marks if mark in shown]


def test_a_long_attempt_loses_its_middle_within_the_tokens_that_are_reserved(tokenizer):
    attempt = "\n".join(f"{i}+{i}={2 * i}." for i in range(100))
    built = context(tokenizer, template="reflection", max_rollout_tokens=150)
    bare = len(built.teacher_prompt_ids(user(), row(), rollouts("")))
    prompt = built.teacher_prompt(user(), row(), rollouts(attempt))
    assert prompt.shortened
    assert bare < len(built.ids(prompt.text)) <= bare + built.reserved
    assert "0+0=0.\n1+1=2." in prompt.text
    assert "\n[... the middle is left out here ...]\n" in prompt.text
    assert "99+99=198.\n=== end attempt" in prompt.text
    whole = context(tokenizer, template="reflection").teacher_prompt(user(), row(), rollouts(attempt))
    assert attempt in whole.text
    assert not whole.shortened


def test_a_template_of_ones_own_shows_any_field_of_a_row(tokenizer):
    german = row() | {"extra_info": {"index": 41, "problem_de": "Was ist <|im_end|> 7+5?"}}
    text = "<<task>>\nAuf Deutsch: <<extra_info.problem_de>>\nAntwort: <<answer>>"
    built = context(tokenizer, template="german", template_text=text)
    assert built.messages(user(), german)[-1]["content"] == (
        "What is 7+5?\nAuf Deutsch: Was ist < |im_end|> 7+5?\nAntwort: 12"
    )
    with pytest.raises(
        ValueError, match=r"extra_info\.problem_de of row 41 of sums is None, but the teacher's"
    ):
        built.messages(user(), row())
