"""Text of single tokens, and what kind of word a token is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_PIECES = 8
"""Tokens that are tried together for a whole character; UTF-8 needs four, and a token may end one and begin
the next."""

WORDS = {
    "answer format": {
        *("\\boxed", "boxed", "\\fbox", "####", "answer", "final", "therefore"),
        *("<think>", "</think>"),
    },
    "hesitation": {
        *("wait", "hmm", "hm", "oh", "uh", "ah", "actually", "maybe", "perhaps", "alternatively", "however"),
        *("but", "though", "check", "recheck", "verify", "mistake", "unsure", "probably", "otherwise"),
    },
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
    """Kind of a token, one of `WORD_CLASSES`, from its text alone.

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


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Text of each token; joined, they are the decoded response.

    A character whose bytes are spread over several tokens stands at the first of them, and the others are
    empty. Bytes that never become a character show as the replacement character.
    """
    alone = tokenizer.batch_decode([[token] for token in ids], skip_special_tokens=False)
    texts: list[str] = []
    while (start := len(texts)) < len(ids):
        text, pieces = alone[start], 1
        if REPLACEMENT in text:
            text, pieces = _whole_character(tokenizer, ids[start : start + MAX_PIECES])
        texts += [text, *[""] * (pieces - 1)]
    return texts


def _whole_character(tokenizer: Any, ids: Sequence[int]) -> tuple[str, int]:
    """Return the shortest beginning that decodes to whole characters, and its length, else the first one."""
    for pieces in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:pieces], skip_special_tokens=False)
        if REPLACEMENT not in text:
            return text, pieces
    return tokenizer.decode(ids[:1], skip_special_tokens=False), 1
