"""Each token has one kind."""

import pytest

from verl_egrsd.microscope.word_class import WORD_CLASSES, WORDS, word_class
from verl_egrsd.rollouts.wording import HESITATION_WORDS, hesitation_rate


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


def test_the_words_of_hesitation_are_those_that_reports_count():
    for word in HESITATION_WORDS:
        assert (word_class(word) == "hesitation") == (" " not in word), word
        assert hesitation_rate([word]) > 0, word
