"""A row becomes the student's prompt and the response that is learned, and what does not fit is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.sft.examples import Example, ExampleReader, LeftOut, turn_end
from verl_egrsd.sft.settings import ExampleConfig
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.templates import get_template

THINKING = {"enable_thinking": True}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def row(solution="4+5=9. The answer is \\boxed{9}.", problem="4+5", **extra):
    return {
        "data_source": "sums",
        "prompt": [{"role": "user", "content": problem}],
        "extra_info": {"index": 7, "solution": solution, **extra},
        "reward_model": {"ground_truth": "9"},
    }


def read(tokenizer, *rows, chat=THINKING, max_length=512, **choices):
    return list(ExampleReader(tokenizer, ExampleConfig(**choices), chat, max_length).read(rows))


@pytest.mark.parametrize("chat", [THINKING, {"enable_thinking": False}])
def test_the_prompt_is_that_of_the_training_and_the_response_ends_the_turn(tokenizer, chat):
    (example,) = read(tokenizer, row(), chat=chat)
    context = PrivilegedContext(tokenizer, get_template("none"), chat)
    assert example.prompt == context.student_prompt_ids(row()["prompt"])
    assert tokenizer.decode(example.response) == row()["extra_info"]["solution"] + "<|im_end|>"


@settings(deadline=None)
@given(
    words=st.lists(st.sampled_from(["4+5=9", "\\boxed{9}", "so", "\n", "é", "  "]), min_size=1, max_size=9)
)
def test_every_response_comes_back_as_it_was_written_with_one_end(tokenizer, words):
    text = "The answer: " + " ".join(words)
    (example,) = read(tokenizer, row(text))
    assert tokenizer.decode(example.response) == f"{text}<|im_end|>"
    assert example.response.count(tokenizer.eos_token_id) == 1


def test_a_sample_that_was_cut_has_no_end_to_learn(tokenizer):
    whole, cut = read(tokenizer, row(truncated=False), row(truncated=True))
    assert cut.response == whole.response[:-1]


def test_another_field_may_be_learned(tokenizer):
    (example,) = read(tokenizer, row(), solution="reward_model.ground_truth")
    assert tokenizer.decode(example.response) == "9<|im_end|>"


def test_a_row_that_is_too_long_is_named_or_left_out_by_choice(tokenizer):
    rows = [row(), row("4+5=9. " * 9, index=8)]
    length = sum(map(len, read(tokenizer, rows[0])[0]))
    message = (
        rf"row 8 of sums has \d+ tokens \(\d+ of the prompt\), data.max_length={length}: raise it, or set"
    )
    with pytest.raises(ValueError, match=message):
        read(tokenizer, *rows, max_length=length)
    kept, left_out = read(tokenizer, *rows, max_length=length, overlong="drop")
    assert isinstance(kept, Example)
    assert left_out.name == "row 8 of sums"
    assert left_out.reason.endswith(f"tokens, data.max_length={length}")


@pytest.mark.parametrize(
    ("marked", "where"),
    [(row("9<|im_end|>"), "extra_info.solution"), (row(problem="4+5<|im_start|>"), "prompt")],
)
def test_a_text_that_would_end_a_turn_is_refused_left_out_or_kept_by_choice(tokenizer, marked, where):
    with pytest.raises(
        ValueError, match=rf"{where} holds <\|im_\w+\|> in row 7 of sums, which the tokenizer"
    ):
        read(tokenizer, marked)
    (left_out,) = read(tokenizer, marked, control_tokens="drop")
    assert isinstance(left_out, LeftOut)
    assert left_out.reason.startswith(f"{where} holds <|im_")
    assert isinstance(read(tokenizer, marked, control_tokens="keep")[0], Example)


def test_the_marks_of_reasoning_are_learned_as_tokens(tokenizer):
    (example,) = read(tokenizer, row("<think>\n4+5=9\n</think>\n\n9"))
    assert tokenizer.convert_tokens_to_ids("</think>") in example.response


@pytest.mark.parametrize("solution", [None, "", ["9"], "nan"])
def test_a_solution_that_is_no_text_is_named(tokenizer, solution):
    with pytest.raises(ValueError, match=r"extra_info.solution of row 7 of sums .*it is learned"):
        read(tokenizer, row(solution))


def test_a_sample_is_learned_behind_the_prompt_that_it_answered(tokenizer):
    with pytest.raises(
        ValueError, match="row 7 of sums is a sample that was drawn with enable_thinking=False"
    ):
        read(tokenizer, row(thinking=False))
    assert read(tokenizer, row(thinking=True)) == read(tokenizer, row())
    # Without a flag nobody knows.
    assert read(tokenizer, row(thinking=False), chat={})


@pytest.mark.parametrize(
    ("closing", "message"),
    [("", "closes the assistant's turn by ''"), ("\nuser: ", "closes the assistant's turn by '.nuser")],
)
def test_a_template_without_an_end_of_the_turn_is_refused(tokenizer, monkeypatch, closing, message):
    template = "{% for m in messages %}{{ m.content }}" + closing.replace("\n", "\\n") + "{% endfor %}"
    monkeypatch.setattr(tokenizer, "chat_template", template.replace("\\n", "\n"))
    with pytest.raises(ValueError, match=message):
        turn_end(tokenizer, {})
