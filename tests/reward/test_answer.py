"""What counts as the answer of a response, and what normalisation must not touch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_egrsd.reward import final_answer, normalise

# Escaped braces are characters and need no partner.
BALANCED = st.recursive(
    st.text("ab1 ^", max_size=4) | st.sampled_from(["\\{", "\\}", "\\\\", "\\frac"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + "".join(parts) + "}"),
)


@given(content=BALANCED, before=st.text(max_size=20))
def test_the_box_ends_at_its_own_brace(content, before):
    before = before.replace("<think>", "")
    assert final_answer(before + "\\boxed{" + content + "} and } more {") == content.strip()


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed{\\left\\{ 1, 2 \\right.}", "\\left\\{ 1, 2 \\right."),
        ("\\boxed{ 12 }.", "12"),
        ("<think>\\boxed{3}</think>", ""),
        ("<think>\\boxed{3}</think>\n\\boxed{4}", "4"),
        ("\\boxed{3}</think> so 4", ""),
        ("<think>a</think>\\boxed{1}<think>b</think>\\boxed{2}", "2"),
        ("<think>it is \\boxed{3}", ""),
        ("\\boxed{3} <think> wait", ""),
        ("\\boxed{3", ""),
        ("\\boxed {12}.", "12"),
        ("\\boxed\n{ x^2 } is it", "x^2"),
        ("\\boxed 5", "5"),
        ("so $\\boxed5$.", "5"),
        ("\\boxed -3.", "-3"),
        ("\\boxed\\frac12", "\\frac12"),
        ("\\boxed C.", "C"),
        ("\\boxed{5} as asked for in \\boxed form", "5"),
        ("#### **18**", "18"),
        ("\\boxed{1} then \\boxed{2", ""),
        ("#### 18", "18"),
        ("#### 17\nno:\n####  1,218 \n", "1,218"),
        ("##### 18", ""),
        ("\\boxed{5}\n#### 6", "5"),
        ("\\boxed{}\n#### 6", ""),
        ("the answer is 7", ""),
        ("", ""),
    ],
)
def test_the_final_answer(response, answer):
    assert final_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<think>\\boxed{3}</think> done", "3"),
        ("<think>\\boxed{3}</think> so \\boxed{4}", "4"),
        ("\\boxed{3}</think> done", "3"),
        ("<think>it is \\boxed{3}", "3"),
        ("<think>#### 3</think> done", "3"),
        ("<think>hm</think> done", ""),
    ],
)
def test_reasoning_counts_only_when_asked_for_and_only_without_an_answer_after_it(response, answer):
    assert final_answer(response, reasoning_counts=True) == answer


@pytest.mark.parametrize(
    ("answer", "bare"),
    [
        (" $12$. ", "12"),
        ("1,234,567", "1234567"),
        ("-1,000.5", "-1000.5"),
        ("1{,}000", "1000"),
        ("1\\,000", "1000"),
        ("50\\%", "50%"),
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("\\left( 1, 2 \\right)", "(1,2)"),
        ("１２", "12"),
        ("5\x00", "5"),
    ],
)
def test_normalisation_drops_what_carries_no_meaning(answer, bare):
    assert normalise(answer) == bare


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 1/2", "31/2"),
        ("1,2", "12"),
        ("1, 234", "1234"),
        ("(1,2)", "(12)"),
        ("12,34", "1234"),
        ("1 2", "12"),
        ("x^2", "x2"),
        ("x²", "x2"),
        ("\\leftarrow", "arrow"),
        ("A", "a"),
        ("1.5", "15"),
    ],
)
def test_normalisation_keeps_different_answers_apart(one, other):
    assert normalise(one) != normalise(other)


@given(st.integers(), st.sampled_from([",", "{,}", "\\,", " "]))
def test_a_number_is_normal_without_its_thousands_separators(number, separator):
    assert normalise(f"{number:,}".replace(",", separator)) == str(number)
