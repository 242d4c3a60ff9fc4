"""Token texts join to the response, whatever its bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.rehearsal.tokenizer import build_small_tokenizer
from verl_egrsd.rollouts.token_texts import REPLACEMENT, token_texts


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Whole words of the task, bytes for everything else."""
    return build_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


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
