"""The word class of a token."""

from __future__ import annotations

import re

from verl_egrsd.rollouts.wording import HESITATION_WORDS

WORDS = {
    "answer format": {
        *("\\boxed", "boxed", "\\fbox", "####", "answer", "final", "therefore"),
        *("<think>", "</think>"),
    },
    "hesitation": {word for word in HESITATION_WORDS if " " not in word},
    "operators": {
        *(
            "\\times",
            "\\cdot",
            "\\div",
            "\\pm",
            "\\le",
            "\\leq",
            "\\ge",
            "\\geq",
            "\\ne",
            "\\neq",
            "\\approx",
        ),
        *("\\frac", "\\dfrac", "\\sqrt", "\\sum", "\\prod", "\\int", "plus", "minus", "times"),
    },
}
"""Words of each class, in lower case."""
OPERATOR_SIGNS = frozenset("+-*/=<>^%×÷·−≤≥≠≈±√∑∏∫")
WORD_CLASSES = ("hesitation", "digits", "operators", "answer format", "other")

_SPECIAL = re.compile(r"<\|.*\|>")


def word_class(token: str) -> str:
    """Return the class of a token, one of `WORD_CLASSES`, from its text alone.

    Special tokens, such as the end of the turn, belong to the answer format.
    """
    word = token.strip().rstrip(".,:;!?").lower()
    if _SPECIAL.fullmatch(word):
        return "answer format"
    for name, words in WORDS.items():
        if word in words:
            return name
    if any(character.isdigit() for character in word):
        return "digits"
    return "operators" if word and OPERATOR_SIGNS.issuperset(word) else "other"
