"""Placebos: never a row's own solution or answer where that can be had, and the same on every machine."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_egrsd.teacher.placebo import partners, partners_of, shuffled_words, with_solution_of

ANSWERS = st.lists(st.sampled_from(["1", "2", "3", "-4", "x+1"]), min_size=2, max_size=40)


@given(answers=ANSWERS, seed=st.integers(0, 5))
def test_each_solution_is_shown_once_and_never_to_its_own_row(answers, seed):
    found = partners(answers, seed)
    assert sorted(found) == list(range(len(answers)))
    assert all(row != other for row, other in enumerate(found))


@given(answers=ANSWERS, seed=st.integers(0, 5))
def test_partners_share_an_answer_only_where_one_answer_has_more_than_half_of_the_rows(answers, seed):
    same = sum(answers[row] == answers[other] for row, other in enumerate(partners(answers, seed)))
    assert same == max(0, 2 * max(Counter(answers).values()) - len(answers))


def test_partners_depend_on_the_seed_alone():
    answers = [str(number % 7) for number in range(60)]
    assert partners(answers, 0) == partners(list(answers), 0)
    assert partners(answers, 0) != partners(answers, 1)
    assert partners(["a", "b", "c", "a"], 0) == [1, 0, 3, 2]


@pytest.mark.parametrize("answers", [[], ["1"]])
def test_a_row_without_another_one_is_refused(answers):
    with pytest.raises(ValueError, match=r"solution of another row, and there is \d: add rows"):
        partners(answers, 0)


def test_a_row_carries_the_solution_of_its_partner_and_keeps_its_own():
    rows = [
        {"reward_model": {"ground_truth": str(i)}, "extra_info": {"index": i, "solution": f"solution {i}"}}
        for i in range(3)
    ]
    (other, *_) = partners_of(rows, 0)
    row = with_solution_of(rows[other], rows[0])
    assert row["extra_info"] == {
        "index": 0,
        "solution": "solution 0",
        "solution_of_another_row": f"solution {other}",
    }
    assert "solution_of_another_row" not in rows[0]["extra_info"]


@given(text=st.text(alphabet="ab \n\\{}", max_size=40), seed=st.integers(0, 3))
def test_shuffling_keeps_the_words_and_the_white_space(text, seed):
    shuffled = shuffled_words(text, seed)
    assert sorted(shuffled.split()) == sorted(text.split())
    assert shuffled == shuffled_words(text, seed)
    assert [c for c in text if c.isspace()] == [c for c in shuffled if c.isspace()]
    if len(set(text.split())) > 1:
        assert shuffled.split() != text.split()


def test_the_order_of_words_is_recorded():
    text = "First add 7 and 5.\n\nSo it is \\boxed{12}."
    assert shuffled_words(text, 0) == "\\boxed{12}. is So and First\n\nadd 5. 7 it"
    assert shuffled_words(text, 1) != shuffled_words(text, 0)
