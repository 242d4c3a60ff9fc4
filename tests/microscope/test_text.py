"""Token texts join to the response, whatever its bytes; each token has one kind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.microscope.text import REPLACEMENT, WORD_CLASSES, WORDS, token_texts, word_class


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=60, deadline=None, database=None)
@given(text=st.text(max_size=30))
def test_the_texts_join_to_the_response(tokenizer, text):
    ids = ids_of(tokenizer, text)
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == tokenizer.decode(ids, skip_special_tokens=False)


def test_a_character_over_several_tokens_stands_at_the_first_of_them(tokenizer):
    assert token_texts(tokenizer, ids_of(tokenizer, "7€é😀+")) == [
        *("7", "€", "", "", "é", "", "😀", "", "", "", "+")
    ]


def test_a_character_that_is_cut_off_shows_as_a_replacement_and_hides_nothing_behind_it(tokenizer):
    euro = ids_of(tokenizer, "€")
    cut = [*euro[:2], *ids_of(tokenizer, "7+5")]
    assert token_texts(tokenizer, cut) == [REPLACEMENT, REPLACEMENT, "7", "+", "5"]
    assert token_texts(tokenizer, euro[:2]) == [REPLACEMENT, REPLACEMENT]


def test_special_tokens_keep_their_names(tokenizer):
    assert token_texts(tokenizer, [tokenizer.eos_token_id]) == ["<|im_end|>"]


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        *((" Wait", "hesitation"), ("hmm,", "hesitation"), (" But", "hesitation"), ("\ncheck", "hesitation")),
        *(("7", "digits"), (" 12.", "digits"), ("x2", "digits"), ("½", "other"), ("²", "digits")),
        *(("+", "operators"), (" =", "operators"), ("\\frac", "operators"), ("\\cdot", "operators")),
        *(("\\boxed", "answer format"), ("<|im_end|>", "answer format"), (" Answer", "answer format")),
        *((" the", "other"), ("\n", "other"), ("", "other"), (".", "other"), ("}", "other"), (" x", "other")),
    ],
)
def test_a_token_has_the_kind_of_its_word(token, kind):
    assert word_class(token) == kind


def test_no_word_has_two_kinds_and_all_are_in_lower_case():
    words = [word for group in WORDS.values() for word in group]
    assert len(words) == len(set(words))
    assert [word.lower() for word in words] == words
    assert {word_class(word) for word in words} == set(WORDS) < set(WORD_CLASSES)
