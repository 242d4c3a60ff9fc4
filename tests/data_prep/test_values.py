"""Values become text by stated rules; what is no text is named, never shown as Python prints it."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.values import UnreadableError, as_answer, as_text, field, from_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" 5 ", "5"),
        (0, "0"),
        (-3, "-3"),
        (5.0, "5"),
        (0.0, "0"),
        (0.25, "0.25"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (Decimal("2.50"), "2.5"),
        (None, ""),
        (float("nan"), ""),
        ([], ""),
        (["x"], "x"),
        ([[0]], "0"),
        (np.array(["x"], object), "x"),
        (np.int64(7), "7"),
        (np.float32("nan"), ""),
        ("[1, 2]", "[1, 2]"),
        ("{1, 2}", "{1, 2}"),
    ],
)
def test_a_value_is_its_text(value, text):
    assert as_text(value) == as_answer(value) == text


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (True, "true or false"),
        (["1", "2"], "a list of several values"),
        (np.array([1, 2]), "a list of several values"),
        ({"text": "5"}, "an object"),
        ([{"text": "5"}], "an object"),
        (b"5", "bytes"),
        (float("inf"), "an infinite number"),
        ("['1', '2']", "a list or an object of code written as text"),
        ("{'text': '5'}", "a list or an object of code written as text"),
        ("('1',)", "a list or an object of code written as text"),
        ("half \ud835", "text with half of a surrogate pair"),
    ],
)
def test_what_is_no_text_is_named_with_its_value(value, what):
    with pytest.raises(UnreadableError, match=f"^{what}: ") as error:
        as_text(value)
    assert error.value.what == what


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(UnreadableError) as error:
        as_text(["x" * 1000, "y"])
    assert len(str(error.value)) < 100


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ('["2"]', "2"),
        ('["\\\\frac{1}{2}"]', "\\frac{1}{2}"),
        ("[-2,7]", "[-2,7]"),
        ("[5]", "[5]"),
        (["2"], "2"),
    ],
)
def test_an_answer_may_be_a_list_of_one_also_as_json_but_an_interval_stays(value, answer):
    assert as_answer(value) == answer


@pytest.mark.parametrize("value", ['["1", "2"]', '{"answer": 5}', '["\\frac{1}{2}"]', '["2"'])
def test_json_that_is_no_single_answer_is_named(value):
    with pytest.raises(UnreadableError):
        as_answer(value)


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_keeps_its_value_and_has_no_exponent(number):
    text = as_text(number)
    assert Decimal(text) == Decimal(repr(number))
    assert "e" not in text.lower()


def test_a_name_leads_into_objects_lists_and_json_text():
    raw = {"info": '{"solution": "s", "tries": [{"text": "t"}]}', "a.b": 1, "a": {"b": 2}, "none": None}
    assert field(raw, "info.solution") == "s"
    assert field(raw, "info.tries.0.text") == "t"
    assert field(raw, "info.tries.1.text") is None
    assert field(raw, "info.other") is None
    assert field(raw, "none.other") is None
    assert field(raw, "a.b") == 1
    assert field(raw, "info") == raw["info"]
    with pytest.raises(UnreadableError, match="without a field 'x'"):
        field({"info": 5}, "info.x")


def test_text_that_only_looks_like_json_is_named_and_mathematics_is_left_alone():
    with pytest.raises(UnreadableError, match="looks like JSON"):
        from_json("[{'role': 'user'}]")
    assert from_json("[1, 2]") == "[1, 2]"
    assert from_json('[{"role": "user"}]') == [{"role": "user"}]
