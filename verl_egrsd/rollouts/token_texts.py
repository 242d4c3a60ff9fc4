"""Text of single tokens: joined, they are the decoded response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_PIECES = 8
"""Tokens that are tried together for a whole character; UTF-8 needs four, and a token may end one and begin
the next."""


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Text of each token; joined, they are the decoded response.

    A character whose bytes are spread over several tokens stands at the first of them, and the others are
    empty. Bytes that never become a character show as the replacement character.
    """
    # A long answer repeats its tokens.
    alone = {token: tokenizer.decode([token], skip_special_tokens=False) for token in dict.fromkeys(ids)}
    texts: list[str] = []
    while (start := len(texts)) < len(ids):
        text, pieces = alone[ids[start]], 1
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
