"""Equations: a name before the answer is not part of the answer, but an equation that was asked for is.

A label is a symbol, a tuple of symbols, a named quantity or the value of a function: `x = 5` says no more
than `5`. `2x + y = 5` says more, and so does `y = 2x + 3`, a line.
"""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.clothing import NESTED
from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.rules.parts import cut, inner
from verl_egrsd.reward.rules.reading import parse_formula
from verl_egrsd.reward.verdict import Reason

EQUALS = re.compile(r"(?<![<>!:\\])=(?!=)")
MEMBER = re.compile(r"\\in(?![a-zA-Z])")
_COMMA = re.compile(r"[,;]|\\text\s*\{\s*,?\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])")
_COLON = re.compile(r":")
_GREEK = (
    r"\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|kappa|lambda|mu|nu|xi|rho|sigma|tau"
    r"|phi|varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega|ell)(?![a-zA-Z])"
)
ACCENT = r"\\(?:vec|bar|hat|tilde|overline|overrightarrow|widehat|mathbb|mathcal)\s*\{?\s*\w+\s*\}?"
INDEX = rf"(?:\s*_\s*(?:\{{{NESTED}\}}|\w|\\[a-zA-Z]+))"
SYMBOL = rf"(?:[a-zA-Z]|{_GREEK}|{ACCENT})'*{INDEX}?'*"
ARGUMENTS = r"\((?:[^()=]|\([^()=]*\))*\)"
_OPERATOR = r"\\(?:max|min|gcd|lcm|det|dim|deg|arg|sin|cos|tan|cot|sec|csc|ln|log)(?![a-zA-Z])"
ANGLE = r"\\angle\s*_?\s*\{?\s*(?:[A-Z]{1,3}|\d)\s*\}?"
_WORDS = r"\\text\s*\{[^{}]*\}(?:\s*\([^()]*\))?|[A-Z]?[a-z]{3,}(?: [a-zA-Z]+)*|[Tt]he [a-z ]+"
NAME = re.compile(
    rf"{SYMBOL}|[A-Z]{{2,4}}'?|\|[A-Z]{{2}}\||m?\s*{ANGLE}|{_WORDS}"
    rf"|{SYMBOL}\s*(?:\^\s*\{{?-1\}}?)?\s*{ARGUMENTS}"
    rf"|{_OPERATOR}\s*(?:{ARGUMENTS}|{SYMBOL}|{ANGLE}|[A-Z]{{2,3}}|\{{{NESTED}\}})?"
)
"""A label: symbol, segment, length, angle, words, value of a function."""
COORDINATES = frozenset("xyzrt") | {"\\theta", "\\rho"}
ASKED_EQUATION = re.compile(
    r"(?:find|write|what\s+is|what\s+are|determine|give|state|enter|express|derive|compute)\s+(?:down\s+)?"
    r"(?:an?|the|its|their|all)?\s*"
    r"(?:(?!solution|root|value|sum|product|number|of|to|zero)[\w$\\{}^,-]+\s+){0,3}"
    r"(?:equations?|asymptotes?|directrix|ax[ie]s\s+of\s+symmetry|lines?\s+of\s+symmetry|tangent\s+lines?)\b",
    re.IGNORECASE,
)
ASKED_VALUE = re.compile(
    r"(?:solve\s+for|express|find|write|what\s+is|determine|compute)\s+\$?\\?\(?\s*([a-zA-Z])\s*\\?\)?\$?\s*"
    r"(?:in\s+terms|as\s+a\s+function|[.:?,]|$|if|when|such|where)",
    re.IGNORECASE,
)


def equations(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A label is optional, an equation is not, and two labels must not contradict each other.

    5 == x=5
    x=5 == 5
    6 == S_{\triangle ABC}=6
    (3,2) == (p,q)=(3,2)
    30^\circ == \angle BAC = 30^\circ
    n^2-1 == m_{\max}=n^{2}-1
    2x == A(x)=2x
    7:32 == S_{MBCN}:S=7:32
    [-2,7] == x \in [-2,7]
    10 = m+n == 10
    y=5 != x=5
    5 != 2x+y=5
    2x+3 != y=2x+3
    x=5=6 != 6
    x=5=6 != 5
    """
    given, wanted = sides(answer), sides(ground_truth)
    if len(given) < 2 and len(wanted) < 2:
        return None
    if contradicts(given, context):
        return "wrong"
    label, value = _labelled(given)
    wanted_label, wanted_value = _labelled(wanted)
    if len(wanted) < 2:
        return context.equal(value, ground_truth)
    if wanted_label is None or (len(given) < 2 and _equation_is_wanted(wanted_label, wanted_value, context)):
        return None if len(given) > 1 else "wrong"
    if len(given) < 2:
        return context.equal(answer, wanted_value)
    if label is not None and _compatible(label, wanted_label):
        return context.equal(value, wanted_value)
    return None


def sides(text: str) -> list[str]:
    r"""Return the sides of the equals signs; a label before a membership counts as one side."""
    if "=" in text:
        return cut(text, EQUALS)
    if "\\in" in text and len(parts := cut(text, MEMBER)) == 2 and NAME.fullmatch(parts[0]):
        return parts if parts[1] not in ("\\mathbb{R}", "\\mathbb{Z}", "\\mathbb{N}") else [text]
    return [text]


def is_label(text: str) -> bool:
    """Return whether a side of an equation only names the other side."""
    if NAME.fullmatch(text):
        return True
    symbols = cut(inner(text) or text, _COMMA)
    if len(symbols) > 1:
        return all(NAME.fullmatch(symbol) for symbol in symbols)
    ratio = cut(text, _COLON)
    return len(ratio) > 1 and all(NAME.fullmatch(part) for part in ratio)


def contradicts(sides: list[str], context: Context) -> bool:
    """Return whether an equation says that two different numbers are equal."""
    numbers = [side for side in sides if len(sides) > 2 and _is_number(side)]
    return any(context.equal(side, numbers[-1]) == "wrong" for side in numbers[:-1])


def _labelled(sides: list[str]) -> tuple[str | None, str]:
    """Return label and value of an equation; without a label, the side that is a number, else the last."""
    if len(sides) < 2:
        return None, sides[0]
    if is_label(sides[0]):
        return sides[0], sides[-1]
    if is_label(sides[-1]) and not _is_number(sides[-1]):
        return sides[-1], sides[0]
    return None, sides[0] if _is_number(sides[0]) and not _is_number(sides[-1]) else sides[-1]


def _is_number(text: str) -> bool:
    value = parse_formula(text.replace("^\\circ", ""))
    return getattr(value, "is_number", False) is True


def _equation_is_wanted(label: str, value: str, context: Context) -> bool:
    if context.problem and ASKED_EQUATION.search(context.problem):
        return True
    if label not in COORDINATES or not _has_coordinate(value, label):
        return False
    asked = ASKED_VALUE.search(context.problem) if context.problem else None
    return asked is None or asked.group(1) != label


def _has_coordinate(value: str, label: str) -> bool:
    symbols = {symbol.name for symbol in getattr(parse_formula(value), "free_symbols", ())}
    return bool({name.strip("\\") for name in COORDINATES - {label}} & symbols)


def _compatible(label: str, wanted: str) -> bool:
    """Return whether two labels may name the same thing: `S` and `S_{ABC}` may, `x` and `y` may not."""
    one, other = (re.sub(r"[\s{}]|\\text|\\angle|m(?=\\angle)", "", name) for name in (label, wanted))
    if one.casefold() == other.casefold() or ("y" in (one, other) and "(" in one + other):
        return True
    if len(one) == 1 and len(other) == 1:
        return False
    if re.search(r"[^\W\d]{3,}", one + " " + other) and "_" not in one + other:
        return True
    return one.split("_")[0] == other.split("_")[0] and not ("_" in one and "_" in other)
