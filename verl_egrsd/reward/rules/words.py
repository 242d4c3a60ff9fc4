"""Answers in words: names, dates, times of day, statements."""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.rules.parts import cut
from verl_egrsd.reward.verdict import Reason

_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?\s*(a\.?m\.?|p\.?m\.?|o'?clock)?", re.IGNORECASE)
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
MONTH = re.compile(
    rf"\b({'|'.join(MONTHS)}|{'|'.join(month[:3] for month in MONTHS)}|sept)\b\.?", re.IGNORECASE
)
_COLON = re.compile(r":|\\text\s*\{\s*to\s*\}|(?<![a-zA-Z\\])to(?![a-zA-Z])")
ARTICLE = re.compile(r"\b(?:the|a|an)\b\s*")
PLAIN = re.compile(r"[^\W\d_][\w\s'.,-]*")


def clock_times(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A time of day is hours, minutes and, if given, a.m. or p.m.

    11:30 \text{ a.m.} == 11:30 AM
    11 a.m. == 11:00 AM
    13:30 == 1:30 PM
    11:30 == 11:30 \text{ p.m.}
    11:30 \text{ a.m.} != 11:30 \text{ p.m.}
    11:30 AM != 11:45 AM
    """
    times = [CLOCK.fullmatch(plain_words(text)) for text in (answer, ground_truth)]
    given, wanted = times
    if (
        not given
        or not wanted
        or not (given[3] or wanted[3])
        or not all(time[2] or time[3] for time in times if time)
    ):
        return None
    halves = {time[3][0].lower() for time in (given, wanted) if time[3]} & {"a", "p"}
    if len(halves) > 1:
        return "wrong"
    return (
        "correct"
        if any(_minutes(given, half) == _minutes(wanted, half) for half in (halves or {"a"}))
        else "wrong"
    )


def dates(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A date is its month and its numbers.

    June 20 == \text{June 20}
    20 June == June 20th
    Jan. 5, 2024 == January 5, 2024
    June 20 != June 21
    June 20 != July 20
    """
    texts = [plain_words(text) for text in (answer, ground_truth)]
    months = [MONTH.search(text) for text in texts]
    if not all(months) or not all(re.search(r"\d", text) for text in texts):
        return None
    read = {
        (month.group(1)[:3].lower(), tuple(sorted(re.findall(r"\d+", text))))
        for month, text in zip(months, texts, strict=True)
        if month
    }
    return "correct" if len(read) == 1 else "wrong"


def ratios(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A ratio may be reduced; the order of its parts counts.

    3 \text{ to } 4 == 3:4
    4:6:8 == 2:3:4
    2:3:4 != 2:4:3
    2:3:4 != 2:3
    3:4 == \frac{3}{4}
    """
    given, wanted = (cut(text, _COLON) for text in (answer, ground_truth))
    if len(given) == len(wanted) == 1 or not all(given) or not all(wanted):
        return None
    if len(given) == len(wanted):
        shares = ([f"\\frac{{{part}}}{{{parts[0]}}}" for part in parts[1:]] for parts in (given, wanted))
        reasons = [context.equal(*pair) for pair in zip(*shares, strict=True)]
        return next((reason for reason in reasons if reason != "correct"), "correct")
    if max(len(given), len(wanted)) > 2:
        return "wrong"
    values = (
        f"\\frac{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else parts[0] for parts in (given, wanted)
    )
    return context.equal(*values)


def words(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""Words are compared as words, whatever their case.

    \text{evelyn} == \text{Evelyn}
    Evelyn == \text{Evelyn}
    the first quadrant == \text{First quadrant}
    \text{第一象限} == 第一象限
    \text{yes} != \text{no}
    Tom != \text{Evelyn}
    \text{5 or more} != 5
    """
    given, wanted = plain_words(answer), plain_words(ground_truth)
    if not any(_is_wordy(text, source) for text, source in ((given, answer), (wanted, ground_truth))):
        return None
    if _key(given) == _key(wanted):
        return "correct" if _key(given) else None
    return "wrong" if "\\text" in answer + ground_truth or not (given + wanted).isascii() else None


def plain_words(text: str) -> str:
    """Return a text without the commands that make it text."""
    return " ".join(_TEXT.sub(r" \1 ", text).split()) if "\\text" in text else text


def _is_wordy(text: str, source: str) -> bool:
    return ("\\text" in source or len(text) > 2) and PLAIN.fullmatch(text) is not None


def _key(text: str) -> str:
    return " ".join(ARTICLE.sub("", text.casefold()).replace("-", " ").replace(".", "").split())


def _minutes(time: re.Match[str], half: str) -> int:
    hour = int(time[1])
    is_afternoon = hour < 12 and half == "p"
    is_midnight = hour == 12 and half == "a"
    return (hour + 12 * is_afternoon - 12 * is_midnight) * 60 + int(time[2] or 0)
