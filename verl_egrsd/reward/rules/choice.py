"""Multiple choice: the letter, its value, or both."""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.verdict import Reason

LETTER = r"(?:\\text\s*\{\s*)?\(?\s*([A-J])\s*\)?(?:\s*\})?"
CHOICE = re.compile(
    rf"(?:(?:option|choice|answer)\s+)?(?:\\text\s*\{{\s*(?:option|choice|answer)\s*\}}\s*)?{LETTER}",
    re.IGNORECASE,
)
MARKED = re.compile(
    r"(?:\\text\s*\{\s*\(?([A-J])\s*(?:\)\s*[.:]?\s*\}|[.:]\s*\}|\}\s*[.:)])|\(([A-J])\)[.:]?|([A-J])(?:[.)]|:(?!\s*[A-Z]\b)))\s*(\S.*)",
    re.DOTALL,
)
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
    """Return the options of a multiple choice by letter; {} where the problem does not list A, B and C in order."""
    from verl_egrsd.reward.rules import readable

    found = list(OPTION.finditer(problem or ""))
    ends = [match.start() for match in found[1:]] + [len(problem or "")]
    listed = {
        match.group(1): (problem or "")[match.end() : end] for match, end in zip(found, ends, strict=True)
    }
    return (
        {letter: readable(text) for letter, text in listed.items()}
        if list(listed)[:3] == ["A", "B", "C"]
        else {}
    )


def _read(text: str) -> tuple[str, str]:
    """Return letter and value of a choice, "" for what is not there."""
    if match := CHOICE.fullmatch(text):
        return match.group(1) if match.group(1).isupper() else "", ""
    if match := MARKED.fullmatch(text):
        return next(filter(None, match.groups()[:3])), match.group(4)
    return "", ""
