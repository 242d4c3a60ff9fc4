"""Numbers as people write them: mixed, repeating, in groups of digits, side by side."""

from __future__ import annotations

import re

MIXED = re.compile(
    r"(?<![\d.}\w^_])(\d+)\s*(?:\s(\d+)\s*/\s*(\d+)|\\frac\s*(?:\{(\d+)\}\s*\{(\d+)\}|(\d)\s*(\d)))(?![\d(])"
)
POWER_OF_TEN = re.compile(r"(?<![\w.\\])(\d+(?:\.\d*)?|\.\d+)[eE]([+-]?\d+)(?![\w.])")
BARE_POINT = re.compile(r"(?<=\d)\.(?=/|\s*$|\s*[,;)}])")
REPEATING = re.compile(r"(\d*)\.(\d*)\s*\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))")
ELLIPSIS = re.compile(r"(\d*)\.(\d*?)(\d+?)\3{2,}\s*(?:\\(?:ldots|dots|cdots)|\.\.\.)\s*$")
JUXTAPOSED = re.compile(
    r"((?<![\w^_\\.{])\d+(?:\.\d+)?(?=\s*\()|\\pi(?=\s*\()|(?<!\([A-J])\)(?=\s*[\d(]))\s*"
)
SPACED = re.compile(r"-?\d{1,3}(?: \d{3})+(?:\.\d+)?")
GROUPED = re.compile(
    r"([^\d,;()\[\]]*)(\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?!\d)([^\d,;()\[\]]*(?:\^\s*\{?\d\}?)?)"
)
_WORDS = tuple(
    [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ]
)
THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def mixed_numbers(text: str) -> str:
    r"""A whole number before a fraction of whole numbers is added to it.

    3 1/2 -> (3+\frac{1}{2})
    2\frac{1}{2} -> (2+\frac{1}{2})
    1\frac45 -> (1+\frac{4}{5})
    -3 1/2 -> -(3+\frac{1}{2})
    2\frac{5}{2} -> 2\cdot \frac{5}{2}
    x\frac{1}{2} -> x\frac{1}{2}
    """
    return MIXED.sub(_mixed, text) if "/" in text or "frac" in text else text


def _mixed(match: re.Match[str]) -> str:
    whole, over, under = (group for group in match.groups() if group)
    fraction = f"\\frac{{{over}}}{{{under}}}"
    return f"({whole}+{fraction})" if int(over) < int(under) else f"{whole}\\cdot {fraction}"


def powers_of_ten(text: str) -> str:
    r"""Scientific notation of programs is a product.

    8.7e8 -> 8.7\times 10^{8}
    1e-3 \text{ cm} -> 1\times 10^{-3} \text{ cm}
    2e -> 2e
    """
    return POWER_OF_TEN.sub(r"\1\\times 10^{\2}", text)


def bare_points(text: str) -> str:
    r"""A point without digits after it is dropped.

    -1./3 -> -1/3
    (1., 2.) -> (1, 2)
    """
    return BARE_POINT.sub("", text) if "." in text else text


def repeating_decimals(text: str) -> str:
    r"""Digits that repeat for ever make a fraction.

    0.\overline{3} -> \frac{3}{9}
    0.3\overline{6} -> \frac{33}{90}
    2.\bar{9} -> \frac{27}{9}
    0.333\ldots -> \frac{3}{9}
    0.1 -> 0.1
    """
    if "." not in text:
        return text
    text = ELLIPSIS.sub(lambda match: _repeating(match[1], match[2], match[3]), text)
    return REPEATING.sub(lambda match: _repeating(match[1], match[2], match[3] or match[4]), text)


def _repeating(whole: str, once: str, period: str) -> str:
    all_digits, before = int((whole or "0") + once + period), int((whole or "0") + once)
    return f"\\frac{{{all_digits - before}}}{{{'9' * len(period)}{'0' * len(once)}}}"


def juxtaposed_products(text: str) -> str:
    r"""Numbers side by side in brackets are multiplied; a function is not multiplied by its argument.

    (3)(5) -> (3)\cdot (5)
    4(25) -> 4\cdot (25)
    2(3)(7) -> 2\cdot (3)\cdot (7)
    (2)3 -> (2)\cdot 3
    2\pi(3) -> 2\pi\cdot (3)
    f(3) -> f(3)
    \log_2(8) -> \log_2(8)
    \sin^2(x) -> \sin^2(x)
    f_1(2) -> f_1(2)
    """
    return JUXTAPOSED.sub(r"\1\\cdot ", text) if "(" in text else text


def spaced_digits(text: str) -> str:
    r"""Spaces group the digits of a number, and otherwise make a list; they never add.

    1 000 -> 1000
    2 3 -> 2, 3
    5 -3 -> 5 -3
    """
    if SPACED.fullmatch(text):
        return text.replace(" ", "")
    return text.replace(" ", ", ") if re.fullmatch(r"\d+(?: \d+)+", text) else text


def grouped_digits(text: str) -> str:
    r"""Commas group the digits of the only number before or after a unit, a currency or a label.

    \$32,348 -> \$32348
    1,000.99€ -> 1000.99€
    58,500 \text{ people} -> 58500 \text{ people}
    1,234 -> 1,234
    (1,234) -> (1,234)
    9 \text{ cm}, 100 \text{ cm} -> 9 \text{ cm}, 100 \text{ cm}
    """
    match = GROUPED.fullmatch(text) if "," in text else None
    if not match or not (match[1].strip(" -") or match[3].strip()):
        return text
    return match[1] + match[2].replace(",", "") + match[3]


def number_words(text: str) -> str:
    r"""A small number in words is a number.

    \text{six} -> 6
    One -> 1
    one half -> one half
    """
    name = text.removeprefix("\\text{").removesuffix("}").strip().lower()
    return str(_WORDS.index(name)) if name in _WORDS else text


def ungrouped(text: str) -> str:
    r"""Commas without a space group the digits of a number.

    1,234,567.8 -> 1234567.8
    1, 234 -> 1, 234
    (1,234) -> (1,234)
    """
    return text.replace(",", "") if "," in text and THOUSANDS.fullmatch(text) else text
