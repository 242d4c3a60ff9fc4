"""Both tokenizers: lossless, with Qwen3's template and special tokens; the real one exactly as Qwen's own."""

import hashlib
import json
import random
from importlib.resources import files

import pytest
from dashscope.tokenizers.qwen_tokenizer import QwenTokenizer
from transformers import AutoTokenizer

from recipes.rehearsal import task, tokenizer
from recipes.rehearsal.training import privileged_context
from tests.support.published import published
from verl_egrsd.teacher.templates import TEMPLATES, Template


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small")
    tokenizer.build_small_tokenizer(path)
    return AutoTokenizer.from_pretrained(path)


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen3")
    tokenizer.build_qwen3_tokenizer(path)
    return AutoTokenizer.from_pretrained(path)


def ids(loaded, text):
    return loaded(text, add_special_tokens=False)["input_ids"]


def test_generated_text_survives_the_round_trip(small):
    rng = random.Random(0)
    for _ in range(200):
        problem = task.generate_problem(rng)
        row = task.to_row(problem, 0, "train")
        for name in ("reference_solution", "answer_only", "concise", "none"):
            text = privileged_context(small, name).teacher_prompt_text(row["prompt"], row)
            assert small.decode(ids(small, text)) == text
        for text in (task.student_response(problem, task.ROLES["miniature"], rng), problem.solution):
            assert small.decode(ids(small, text), skip_special_tokens=True) == text


@pytest.mark.parametrize(
    "text", ["", "x  y\t\r\n\n z", "Größe ≤ 日本 👍", "\\frac{12}{3} === a==b", " 7 + 5 "]
)
def test_any_text_survives_the_round_trip(small, text):
    assert small.decode(ids(small, text)) == text


def test_the_words_of_task_and_templates_are_whole_tokens(small):
    rng = random.Random(0)
    problem = task.generate_problem(rng)
    row = task.to_row(problem, 0, "train")
    text = privileged_context(small, "reference_solution").teacher_prompt_text(row["prompt"], row)
    for part in (text, task.student_response(problem, task.ROLES["miniature"], rng)):
        single = {token for token in small.tokenize(part) if len(token.strip("Ġ")) == 1 and token.isalpha()}
        assert single <= {"Ġa", "Ċ", "Ġ"}
    assert len(small) <= tokenizer.SMALL_VOCABULARY


def test_the_thinking_marks_survive_and_the_special_tokens_do_not(small):
    text = "<|im_start|><think>\n7+5=12\n</think>\n\n\\boxed{12}<|im_end|><|endoftext|>"
    assert (
        small.decode(ids(small, text), skip_special_tokens=True) == "<think>\n7+5=12\n</think>\n\n\\boxed{12}"
    )


VOCABULARY = "ba3c581ade8e0fbcf6b9e793043d687a3f523e529979908ea7eb5d801b119081"
"""SHA-256 of the vocabulary that the shipped model was trained with."""


def test_the_vocabulary_is_that_of_the_shipped_model_whatever_templates_there_are(tmp_path, monkeypatch):
    monkeypatch.setitem(TEMPLATES, "unheard", Template("<<task>>\nUnheard vocabulary everywhere"))
    built = tokenizer.build_small_tokenizer(tmp_path)
    words = sorted(built.get_vocab().items(), key=lambda word: word[1])
    assert hashlib.sha256(json.dumps(words).encode()).hexdigest() == VOCABULARY


@pytest.mark.parametrize("text", ["\n", "<think>", "</think>", "<|im_end|>", "7", "+", "=", "\\boxed"])
def test_one_token_each(small, text):
    assert len(ids(small, text)) == 1


def test_end_and_padding(small):
    assert (small.eos_token, small.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_the_chat_template_is_qwen3s(small):
    turn = [{"role": "user", "content": "What is 7+5?"}]
    render = {"tokenize": False, "add_generation_prompt": True}
    thinking = small.apply_chat_template(turn, **render, enable_thinking=True)
    assert thinking == "<|im_start|>user\nWhat is 7+5?<|im_end|>\n<|im_start|>assistant\n"
    plain = small.apply_chat_template(turn, **render, enable_thinking=False)
    assert plain == thinking + "<think>\n\n</think>\n\n"


def test_qwen3_has_the_real_ids_and_flags(qwen3):
    expected = {
        "<|endoftext|>": 151643,
        "<|im_start|>": 151644,
        "<|im_end|>": 151645,
        "<|video_pad|>": 151656,
        "<tool_call>": 151657,
        "<think>": 151667,
        "</think>": 151668,
    }
    assert {text: qwen3.convert_tokens_to_ids(text) for text in expected} == expected
    assert len(qwen3) == 151669
    special = {index for index, token in qwen3.added_tokens_decoder.items() if token.special}
    assert special == set(range(151643, 151657))
    assert (qwen3.eos_token_id, qwen3.pad_token_id) == (151645, 151643)


def test_qwen3_agrees_with_qwens_own_tokenizer(qwen3):
    reference = QwenTokenizer(str(files("dashscope").joinpath("resources", "qwen.tiktoken")))
    texts = ["I'LL we're  \n\n\t x", "e\u0301 日本語 👍🏽 1234\r\n", TEMPLATES["reference_solution"].text]
    texts += [text for row in published("math500") for text in (row["problem"], row["solution"])]
    for text in texts:
        assert ids(qwen3, text) == reference.encode(text)
        assert qwen3.decode(ids(qwen3, text)) == reference.decode(reference.encode(text))


def test_without_dashscope_the_remedy_is_named(monkeypatch, tmp_path):
    tokenizer._qwen_vocabulary.cache_clear()
    monkeypatch.setattr(tokenizer, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install dashscope"):
        tokenizer.build_qwen3_tokenizer(tmp_path)
