"""Fields of a row come back as text, or are named with row, value and remedy; nothing is shown as Python."""

import math
from decimal import Decimal

import numpy as np
import pytest

from verl_egrsd.rows import GROUND_TRUTH, Field, conversation, row_name, share_of, structure, text_of

USER = {"role": "user", "content": "What is 7+5?"}


def row(value):
    return {"reward_model": {"ground_truth": value}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (12, "12"), (12.0, "12"), (-0.5, "-0.5"), (Decimal("1.50"), "1.50"), ("0", "0")),
        *(("[-2, 7]", "[-2, 7]"), ("{1, 2}", "{1, 2}"), ("(3, 2)", "(3, 2)"), (" 12 ", " 12 ")),
        *(("\\text{none}", "\\text{none}"), ("[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]"), ("f'(x)", "f'(x)")),
    ],
)
def test_numbers_are_written_out_and_text_stays_as_it_is(value, text):
    assert text_of(row(value), GROUND_TRUTH, "row 5 of sums") == text


@pytest.mark.parametrize("value", [None, "", " \n", math.nan, "nan", "None", "null", Decimal("NaN")])
def test_a_missing_value_is_named_with_row_and_remedy(value):
    with pytest.raises(
        ValueError, match=r"reward_model\.ground_truth of row 5 of sums is .*, but the reward .*Fill.*drop"
    ) as refused:
        text_of(row(value), GROUND_TRUTH, "row 5 of sums")
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (["12"], "the list ['12']"),
        ({"answer": "12"}, "the structure {'answer': '12'}"),
        ('["\\\\frac{2}{3}"]', "the text"),
        ('{"answer": 12}', "the text"),
        ("['12']", "the text"),
        ("{'a': 1}", "the text"),
        (True, "the value True"),
        (math.inf, "the value inf"),
        (b"12", "the bytes b'12'"),
    ],
)
def test_what_is_no_text_is_named_with_row_value_and_remedy(value, named):
    with pytest.raises(
        ValueError, match=r"reward_model\.ground_truth of row 5 .*Write it as plain text"
    ) as no:
        text_of(row(value), GROUND_TRUTH, "row 5 of sums")
    assert named in str(no.value)


def test_a_long_value_is_named_by_its_start():
    with pytest.raises(ValueError, match=r"is the list \[") as refused:
        text_of(row(["word"] * 1000), GROUND_TRUTH, "row 5")
    assert len(str(refused.value)) < 300


RATE = Field("extra_info", "rate", "the weight needs it", "or drop the row")


@pytest.mark.parametrize("value", [0, 1, 0.125, 1.0, np.float32(0.5)])
def test_a_share_is_a_number_from_0_to_1(value):
    assert share_of({"extra_info": {"rate": value}}, RATE, "row 5 of sums") == value


@pytest.mark.parametrize("value", [None, math.nan, -0.1, 1.001, math.inf, "0.5", True, [0.5]])
def test_what_is_no_share_is_named_with_row_value_and_remedy(value):
    message = (
        r"extra_info\.rate of row 5 of sums is .*, but the weight needs it\. Write a number from 0 .*drop"
    )
    with pytest.raises(ValueError, match=message) as refused:
        share_of({"extra_info": {"rate": value}}, RATE, "row 5 of sums")
    assert repr(value) in str(refused.value)


def test_a_row_without_the_column_misses_the_field():
    with pytest.raises(ValueError, match=r"reward_model\.ground_truth of row 5 is None"):
        text_of({}, GROUND_TRUTH, "row 5")


@pytest.mark.parametrize("value", ['{"index": 3}', [1], 7])
def test_a_column_that_is_no_structure_is_refused_with_the_remedy(value):
    with pytest.raises(ValueError, match=r"extra_info of row 5 is .*json\.loads"):
        structure({"extra_info": value}, "extra_info", "row 5")


@pytest.mark.parametrize(
    "messages",
    [
        *(None, "What is 7+5?", '[{"role": "user", "content": "x"}]', b"x", [], {"role": "user"}),
        *([USER, "x"], [{"role": "user"}], [{"content": "x"}], [None], [{"role": None, "content": "x"}]),
    ],
)
def test_what_is_no_list_of_messages_is_refused_with_the_form(messages):
    with pytest.raises(
        ValueError, match=r'prompt of row 5 .*\[\{"role": "user", "content": "\.\.\."\}\].*drop'
    ):
        conversation({"prompt": messages}, "prompt", "row 5")


@pytest.mark.parametrize(
    "messages",
    [
        [USER, {"role": "assistant", "content": "12"}],
        [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        [{"role": "system", "content": [{"type": "text", "text": "x"}]}, USER],
    ],
)
def test_a_conversation_must_be_plain_text_and_end_with_the_user(messages):
    with pytest.raises(ValueError, match=r"prompt of row 5 must end in a user turn of plain text"):
        conversation({"prompt": messages}, "prompt", "row 5")


def test_an_empty_user_turn_is_refused():
    with pytest.raises(ValueError, match=r"prompt of row 5 has an empty user turn"):
        conversation({"prompt": [{"role": "user", "content": " \n"}]}, "prompt", "row 5")


@pytest.mark.parametrize(
    ("extra", "position", "name"),
    [
        ({"index": 0}, 7, "row 0 of sums"),
        ({"index": None}, 7, "row 7 of sums"),
        (None, 7, "row 7 of sums"),
        ('{"index": 3}', 7, "row 7 of sums"),
        ({}, None, "row ? of sums"),
    ],
)
def test_a_row_is_named_by_its_index_and_else_by_its_position(extra, position, name):
    assert row_name({"extra_info": extra, "data_source": "sums"}, position) == name
