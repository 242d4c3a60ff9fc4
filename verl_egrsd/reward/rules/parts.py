"""Cutting an answer where it is not inside brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)
_OPEN = {"(", "[", "{", "\\{", "\\langle", "\\lfloor", "\\lceil", "\\lvert"}
CLOSE = {")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil", "\\rvert"}


def tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each LaTeX command or character with its position and the number of brackets around it.

    A bracket is as deep as what surrounds it. Any bracket closes any other: `[1,2)` is one pair.
    """
    depth = 0
    for match in TOKEN.finditer(text):
        token = match.group()
        if token in CLOSE:
            depth -= 1
        yield token, match.start(), depth
        if token in _OPEN:
            depth += 1


def cut(text: str, separators: re.Pattern[str]) -> list[str]:
    r"""Return the parts of a text between separators that no bracket surrounds.

    A separator begins with a token: `\\le` never matches the start of `\\left`.
    """
    if not separators.search(text):
        return [text.strip()]
    parts, start = [], 0
    for _, position, depth in tokens(text):
        if depth == 0 and position >= start and (match := separators.match(text, position)):
            parts.append(text[start:position])
            start = match.end()
    return [part.strip() for part in (*parts, text[start:])]


def inner(text: str, brackets: str = "()") -> str | None:
    """Return the text inside one pair of brackets around the whole; None without such a pair."""
    opening, closing = brackets[: len(brackets) // 2], brackets[len(brackets) // 2 :]
    if not (text.startswith(opening) and text.endswith(closing) and len(text) >= len(brackets)):
        return None
    surface = [position for token, position, depth in tokens(text) if depth == 0]
    return text[len(opening) : -len(closing)] if surface == [0, len(text) - len(closing)] else None
