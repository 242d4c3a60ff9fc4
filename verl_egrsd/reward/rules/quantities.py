"""Numbers with units or nouns: `5 km/h`, `2 hours 30 minutes`, `9 chickens`, `\\$5`.

A unit may be missing on one side. Two different ones are never equal, unless they measure the same thing:
then the amounts are compared. Text is never skipped: what follows it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.rules.parts import tokens
from verl_egrsd.reward.rules.reading import TRIGONOMETRIC, same_value
from verl_egrsd.reward.rules.units import (
    IRREGULAR,
    MULTIPLES,
    NO_UNIT,
    RAISING,
    SPEEDS,
    UNIT_TABLE,
    Unit,
    is_measure,
    singular,
    unit_of,
)
from verl_egrsd.reward.verdict import Reason

_DEGREE = "^\\circ"
CURRENCY = r"\\\$|[$€£¥₹¢]|\\(?:pounds|euro|yen)(?![a-zA-Z])"
PIECE = re.compile(
    rf"\\text\s*\{{[^{{}}]*\}}|\^\\circ(?:\s*[CF]\b)?|{CURRENCY}|(?<![\\a-zA-Z])[^\W\d_]+(?:\.[^\W\d_]+)*\.?(?![a-zA-Z(_'])"
)
JOINED = re.compile(r"(?:\s|/|-|\\cdot(?![a-zA-Z])|\^\s*(?:\{\s*-?\d\s*\}|\d))*")
AFTER = re.compile(r"\s*\^\s*(?:\{\s*-?\d\s*\}|\d)")
CURRENCY_BEFORE = re.compile(
    rf"^(-?)\s*(?:US|USD|AUD|CAD)?\s*({CURRENCY}|Rs\.?|USD|\\text\s*\{{\s*(?:Rs\.?|USD|\\\$)\s*\}})\s*(?=[-\d.\\(])(.*)$",
    re.DOTALL,
)
SYMBOLS = {"\\pounds": "£", "\\euro": "€", "\\yen": "¥"}
UNMISTAKABLE = frozenset(("cm", "km", "mm", "kg", "ft", "lb", "oz", "hr"))
"""Units of two letters that are never read as a product of variables."""
_AND = re.compile(r"\\text\s*\{\s*,?\s*and\s*\}|(?<![a-zA-Z\\])and(?![a-zA-Z])")
CJK = re.compile("[\u3400-\u9fff]")
MAY_HOLD_A_UNIT = re.compile(rf"\\text|\^\\circ|[^\W\d_]{{2}}|\s[a-zA-Z]|{CURRENCY}|{CJK.pattern}")
BEGINS_WITH_WORDS = re.compile(r"\\text|[^\W\d_]{2}")
ASKED_MULTIPLE = "(?:in|many|of|nearest)\\s+{}s?"


@dataclass(frozen=True)
class Amount:
    """A number and what it counts.

    Attributes:
        value: text of the number, or of a formula.
        words: text of the unit, "" for none.
        unit: what the words name; None if they name no unit.
        is_guess: whether the unit may as well be a variable: `5 m`.
    """

    value: str
    words: str = ""
    unit: Unit | None = NO_UNIT
    is_guess: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether the number has no unit."""
        return self.unit is not None and not self.unit.powers


def amounts_with_units(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""Numbers are compared together with their units.

    18 people == 18
    5 \text{ million} == 5000000
    2 \text{ hours } 30 \text{ minutes} == 150 \text{ minutes}
    1 \text{ m} == 100 \text{ cm}
    \$5 == 5 \text{ dollars}
    180^\circ == \pi \text{ radians}
    5 m == 5
    5 \text{ million} != 5
    5\text{ lb} != 5\text{ kg}
    5 \text{ cm} != 5 \text{ cm}^2
    3\text{ quarters} != 3\text{ dimes}
    2 \text{ hours } 30 \text{ minutes} != 2
    5 \text{ if } x>0 != 5
    5m != 5
    5 != 5m
    """
    given, wanted = amounts(answer), amounts(ground_truth)
    if not given and not wanted:
        return None
    if any(one.is_guess for one in given + wanted) and same_value(answer, ground_truth) == "correct":
        return "correct"
    given, wanted = total(given or [Amount(answer)]), total(wanted or [Amount(ground_truth)])
    if len(given) != len(wanted):
        return "wrong"
    reasons = (_same_amount(one, other, context) for one, other in zip(given, wanted, strict=True))
    return next((reason for reason in reasons if reason != "correct"), "correct")


def compound_quantities(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""Amounts of one kind joined by "and" are one amount.

    2 \text{ hours and } 30 \text{ minutes} == 150 \text{ minutes}
    5 \text{ feet and } 6 \text{ inches} != 5 \text{ feet and } 4 \text{ inches}
    """
    if not (_AND.search(answer) or _AND.search(ground_truth)):
        return None
    given, wanted = (total(amounts(_AND.sub(" ", text))) for text in (answer, ground_truth))
    if not (
        len(given) == len(wanted) == 1 and all(one.unit and one.unit.is_measured for one in given + wanted)
    ):
        return None
    return _same_amount(given[0], wanted[0], context)


def amounts(text: str) -> list[Amount]:
    r"""Return the numbers of a text with their units; [] if it has no unit, or begins with words."""
    if not MAY_HOLD_A_UNIT.search(text) or TRIGONOMETRIC.search(text):
        return []
    text = _one_degree(_currency_behind(text))
    found, start = [], 0
    for begin, end in _runs(text):
        value, words = text[start:begin].strip(), _words(text[begin:end])
        if not value or BEGINS_WITH_WORDS.match(value):
            return []
        found.append(Amount(value, words, unit_of(words), _is_guess(text[begin:end])))
        start = end
    rest = text[start:].strip()
    return [*found, Amount(rest)] if found and rest else found


def total(amounts: list[Amount]) -> list[Amount]:
    """Add amounts that measure the same thing: hours and minutes, feet and inches."""
    first = amounts[0].unit if len(amounts) > 1 else None
    units = [one.unit for one in amounts if one.unit and first and one.unit.powers == first.powers]
    if first is None or not first.is_measured or len(units) < len(amounts):
        return amounts
    terms = (_times(one.value, unit.factor / first.factor) for one, unit in zip(amounts, units, strict=True))
    return [Amount("+".join(terms), amounts[0].words, first)]


def _same_amount(given: Amount, wanted: Amount, context: Context) -> Reason:
    if given.unit is None or wanted.unit is None:
        return context.equal(given.value, wanted.value) if given.words == wanted.words else "wrong"
    value, truth = (_times(one.value, one.unit.multiple) for one in (given, wanted) if one.unit)
    if given.is_bare or wanted.is_bare:
        return _one_is_bare(given, wanted, value, truth, context)
    if given.unit.powers == wanted.unit.powers:
        return context.equal(_times(value, given.unit.factor / wanted.unit.factor), truth)
    return context.equal(value, truth) if _says_more(given.unit, wanted.unit) else "wrong"


def _one_is_bare(given: Amount, wanted: Amount, value: str, truth: str, context: Context) -> Reason:
    if wanted.is_guess and given.is_bare:
        return "wrong"
    reason = context.equal(value, truth)
    if reason == "wrong" and _multiple_is_asked(given, wanted, context):
        return context.equal(given.value, wanted.value)
    if reason == "wrong" and _DEGREE in given.words + wanted.words and "\\pi" in value + truth:
        return context.equal(_in_radians(value, given), _in_radians(truth, wanted))
    return reason


def _in_radians(value: str, amount: Amount) -> str:
    return f"({value})\\cdot \\frac{{\\pi}}{{180}}" if _DEGREE in amount.words else value


def _multiple_is_asked(given: Amount, wanted: Amount, context: Context) -> bool:
    """Return whether the problem already says "million" and only the answer repeats it."""
    asked = (
        ASKED_MULTIPLE.format(name) for name in MULTIPLES if name in given.words.lower() and not wanted.words
    )
    return any(re.search(pattern, context.problem or "", re.IGNORECASE) for pattern in asked)


def _says_more(one: Unit, other: Unit) -> bool:
    """Return whether one unit only specifies the other: cookies and chocolate cookies."""
    is_part = one.powers <= other.powers or other.powers <= one.powers
    return is_part and not any(is_measure(name) for name, _ in one.powers ^ other.powers)


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each unit outside of brackets."""
    surface = {position for _, position, depth in tokens(text) if depth == 0}
    begin = end = -1
    for match in PIECE.finditer(text):
        if match.start() not in surface or not _names_a_unit(match.group(), text[: match.start()]):
            continue
        if begin >= 0 and not JOINED.fullmatch(text, end, match.start()):
            yield begin, end
            begin = -1
        begin = match.start() if begin < 0 else begin
        end = (AFTER.match(text, match.end()) or match).end()
    if begin >= 0:
        yield begin, end


def _names_a_unit(piece: str, before: str) -> bool:
    if not piece[0].isalpha():
        return True
    name = singular(piece)
    if len(piece) == 2 and piece.isascii() and piece not in UNMISTAKABLE and before[-1:] not in (" ", "/"):
        return False
    if len(name) == 1 and not CJK.match(name):
        return name in UNIT_TABLE and before[-1:] in (" ", "/")
    known = (
        name in UNIT_TABLE
        or name in SPEEDS
        or name in MULTIPLES
        or name in RAISING
        or name in ("per", *IRREGULAR.values())
    )
    return known or len(piece) > 3 or CJK.search(piece) is not None


def _is_guess(words: str) -> bool:
    letters = words.strip(" .")
    return letters.isalpha() and len(letters) < 3 and letters.isascii() and letters not in UNMISTAKABLE


def _words(text: str) -> str:
    for symbol, character in SYMBOLS.items():
        text = text.replace(symbol, character)
    return " ".join(re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text).split())


def _currency_behind(text: str) -> str:
    return CURRENCY_BEFORE.sub(r"\1\3 \2", text)


def _one_degree(text: str) -> str:
    """Write the degree sign of a sum once, behind it."""
    if not re.search(r"\^\\circ\s*[-+]", text):
        return text
    return f"({text.replace(_DEGREE, '')}){_DEGREE}"


def _times(value: str, factor: float) -> str:
    if factor == 1:
        return value
    if abs(factor - round(factor)) < 1e-9:
        return f"({value})\\cdot {round(factor)}"
    return f"({value})\\cdot {factor:.15f}"
