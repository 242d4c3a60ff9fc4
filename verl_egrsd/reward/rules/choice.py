"""Multiple choice: the letter, its value, or both."""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.rules.words import plain_words
from verl_egrsd.reward.verdict import Reason

CHOICE = re.compile(r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+)?\(?\s*([A-J])\s*\)?")
_MARKED = re.compile(r"(?:\(([A-J])\)[.:]?|([A-J])(?:[.)]|:(?!\s*[A-Z]\b)))\s*(\S.*)", re.DOTALL)
OPTION = re.compile(r"(?:\\(?:text|textbf|mathrm|mathbf)\s*\{\s*)?\(?\b([A-J])\s*[).:]\s*\)?\s*\}?")


def choices(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A letter stands for its option; a letter that contradicts the value is wrong.

    \textbf{(B)}\ 12 == B
    B == \textbf{(B)}\ 12
    12 == \textbf{(B)}\ 12
    B. 12 == \text{(B)}
    (B) == \text{B}
    (B) != C
    \textbf{(C)}\ 12 != B
    \textbf{(B)}\ 13 != \textbf{(B)}\ 12
    B != 12
    """
    letter, value = _read(answer)
    wanted_letter, wanted_value = _read(ground_truth)
    if letter and wanted_letter:
        if letter != wanted_letter:
            return "wrong"
        return context.equal(value, wanted_value) if value and wanted_value else "correct"
    if not letter and not wanted_letter:
        return None
    if letter:
        value = value or options(context.problem).get(letter, "")
        return context.equal(value, ground_truth) if value else None
    wanted_value = wanted_value or options(context.problem).get(wanted_letter, "")
    return context.equal(answer, wanted_value) if wanted_value else None


def options(problem: str | None) -> dict[str, str]:
    """Return the options of a multiple choice by letter; {} unless A, B and C appear in this order."""
    from verl_egrsd.reward.rules import readable

    text = problem or ""
    found = list(OPTION.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    listed = {match[1]: text[match.end() : end] for match, end in zip(found, ends, strict=False)}
    in_order = list(listed)[:3] == ["A", "B", "C"]
    return {letter: readable(option) for letter, option in listed.items()} if in_order else {}


def _read(text: str) -> tuple[str, str]:
    """Return letter and value of a choice; "" for a missing one."""
    text = plain_words(text)
    if match := CHOICE.fullmatch(text):
        return match[1], ""
    if match := _MARKED.fullmatch(text):
        return match[1] or match[2], match[3]
    return "", ""
