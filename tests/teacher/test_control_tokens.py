"""Control tokens in a text are found, and spelled so that no tokenizer reads them as marks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher import PrivilegedContext
from verl_egrsd.teacher.control_tokens import WELL_KNOWN, ControlTokens

TEXTS = st.lists(st.sampled_from([*WELL_KNOWN, "x", " ", "\n", "<", ">", "|", "im_end", "think"])).map(
    "".join
)


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@settings(deadline=None)
@given(text=TEXTS)
def test_a_spelled_text_has_no_control_token_and_loses_nothing(text):
    tokens = ControlTokens()
    spelled = tokens.spelled(text)
    assert tokens.found(spelled) == []
    assert spelled.replace(" ", "") == text.replace(" ", "")
    assert (spelled == text) == (tokens.found(text) == [])


@settings(deadline=None)
@given(text=TEXTS)
def test_the_real_tokenizer_reads_a_spelled_text_as_text(qwen3, text):
    marks = set(qwen3.get_added_vocab().values())
    tokens = ControlTokens.of(qwen3)
    assert bool(marks & set(ids(qwen3, text))) == bool(tokens.found(text))
    assert not marks & set(ids(qwen3, tokens.spelled(text)))
    assert qwen3.decode(ids(qwen3, tokens.spelled(text))) == tokens.spelled(text)


def test_tokens_are_found_once_each_in_order():
    assert ControlTokens().found("a</think>b<|im_end|>c</think>") == ["</think>", "<|im_end|>"]


@pytest.mark.parametrize("text", ["a < b > c", "[1, 2]", "<br>", "x <|> y", "|im_end|", "think", ""])
def test_plain_mathematics_has_none(qwen3, text):
    assert ControlTokens.of(qwen3).found(text) == []


def test_added_tokens_that_mark_nothing_are_text(small):
    """Gemma has tokens for runs of line breaks and for the tags of HTML."""
    tokenizer = type(small)(tokenizer_object=small.backend_tokenizer, chat_template="{{ messages }}")
    tokenizer.add_tokens(["\n\n\n", "<table>", "<|fresh|>"])
    assert ControlTokens.of(tokenizer).found("a\n\n\n<table><|fresh|>") == ["<|fresh|>"]


def test_marks_that_a_template_writes_in_plain_text_count(small):
    rendered = "<|user|>\nx<|im_end|>\n<|assistant|>\n [INST] y [/INST]"
    tokens = ControlTokens.of(small, rendered)
    assert tokens.found("[/INST] <|assistant|> <|other|>") == ["[/INST]", "<|assistant|>"]


@settings(deadline=None)
@given(solution=TEXTS.map("a{}".format))
def test_the_privileged_prompt_has_the_control_tokens_of_its_template_alone(qwen3, solution):
    """With the real vocabulary: whatever a solution holds, it adds no token that the tokenizer marks."""
    context = PrivilegedContext.from_config(qwen3, TeacherConfig(), {"enable_thinking": False})
    marks = set(qwen3.get_added_vocab().values())
    question = [{"role": "user", "content": "What is 7+5?"}]
    prompts = [
        context.teacher_prompt_ids(question, {"extra_info": {"solution": text}}) for text in ("12", solution)
    ]
    plain, marked = ([token for token in prompt if token in marks] for prompt in prompts)
    assert plain == marked
