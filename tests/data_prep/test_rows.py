"""A row in verl's schema, and which problems count as the same."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.rows import normalise_problem, problem_hash, to_row, without_marks
from tests.support.published import published
from verl_egrsd.rows import ANSWER_INSTRUCTION

FRAGMENTS = st.sampled_from(
    ["x", "2", "-", "^", "_", "{", "}", "(", ")", "\\frac", "\\Delta", "area", "1.5", "!", "=", "'", "\\{"]
)


def test_a_row_holds_prompt_answer_and_the_solution_that_the_teacher_is_shown():
    row = to_row(
        data_source="math500",
        problem="What is 2+3?",
        solution="It is \\boxed{5}.",
        answer="5",
        index=7,
        split="train",
        source="somewhere",
        lengths={"student": 20, "teacher": 60, "unit": "tokens"},
    )
    assert row == {
        "data_source": "math500",
        "prompt": [{"role": "user", "content": f"What is 2+3?\n\n{ANSWER_INSTRUCTION}"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "5"},
        "extra_info": {
            "index": 7,
            "split": "train",
            "problem": "What is 2+3?",
            "solution": "It is \\boxed{5}.",
            "answer": "5",
            "source": "somewhere",
            "lengths": {"student": 20, "teacher": 60, "unit": "tokens"},
            "hash": hashlib.sha256(b"what is 2 + 3").hexdigest(),
        },
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find  $x$.", "find x"),
        ("Find\n\n\\(x\\)", "Find $x$"),
        ("\\[ f (x) \\]", "$f(x)$"),
        ("\\left( 1,\\, 2 \\right)", "(1,2)"),
        ("\\dfrac{1}{2}", "\\tfrac{1}{2}"),
        ("x^{2}", "x^2"),
        ("x²", "x^2"),
        ("x⁻¹", "x^{-1}"),
        ("x₁₂", "x_{12}"),
        ("−1", "-1"),
        ("１２", "12"),
        ("\\$18", "18"),
        ("1, 2, \\ldots, 9", "1,2,...,9"),
        ("100{,}000", "100{,}000."),
        ("1,\\!000", "1,000"),
        ("Bob’s “cat”", "Bob's cat"),
        ("no\u00a0break space\u200b", "no break space"),
        ("2½", "2 ½"),
        ("50\\%", "50%"),
    ],
)
def test_spellings_of_the_same_problem_are_the_same(one, other):
    assert normalise_problem(one) == normalise_problem(other)
    assert problem_hash(one) == problem_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x^2", "x_2"),
        ("x^2", "x2"),
        ("x²", "x2"),
        ("x₂", "x2"),
        ("x^{2y}", "x^{2}y"),
        ("x^{23}", "x^{2}3"),
        ("x^{2}3", "x^23"),
        ("-1", "1"),
        ("−1", "1"),
        ("x-1", "x1"),
        ("1.5", "15"),
        ("1.5", "1,5"),
        (".5", "5"),
        ("1 2", "12"),
        ("1,2", "12"),
        ("2½", "21/2"),
        ("5!", "5"),
        ("f'(x)", "f(x)"),
        ("1:2", "1 2"),
        ("1,2,...,9", "1,2,9"),
        ("|x|", "x"),
        ("\\{1\\}", "{1}"),
        ("\\Delta", "\\delta"),
        ("50%", "50"),
        ("a<b", "a>b"),
        ("\\le", "<"),
        ("3\\times 4", "3+4"),
        ("is it", "is not"),
    ],
)
def test_different_mathematics_stays_different(one, other):
    assert normalise_problem(one) != normalise_problem(other)
    assert problem_hash(one) != problem_hash(other)


@given(
    fragments=st.lists(FRAGMENTS, max_size=12), spaces=st.lists(st.sampled_from([" ", "\n", " \\, ", "$"]))
)
def test_white_space_and_dollars_between_tokens_do_not_count(fragments, spaces):
    spaces = spaces or [" "]
    loose = "".join(f"{part}{spaces[i % len(spaces)]} " for i, part in enumerate(fragments))
    assert normalise_problem(loose) == normalise_problem(" ".join(fragments))


@given(st.text())
def test_a_normalised_problem_is_tokens_between_single_spaces(text):
    normal = normalise_problem(text)
    assert normal == " ".join(normal.split())


@pytest.mark.parametrize(
    ("solution", "text"),
    [
        ("6*8=<<6*8=48>>48.\nSo 48.\n#### 48", "6*8=48.\nSo 48."),
        ("1 #### 2\n#### 3", "1 #### 2"),
        (" a << b >> c ", " a << b >> c "),
    ],
)
def test_only_a_solution_that_ends_in_a_marked_answer_loses_its_marks(solution, text):
    assert without_marks(solution) == text


@pytest.mark.parametrize("name", ["aime24", "aime25", "math500", "minerva_math", "gsm8k_test", "gsm8k_train"])
def test_no_two_real_problems_are_merged(name):
    problems = [row.get("problem") or row["question"] for row in published(name)]
    assert len({problem_hash(problem) for problem in problems}) == len(problems)
