"""Sets of numbers: intervals, inequalities, set-builder notation, membership, all but some numbers."""

from __future__ import annotations

import re
from typing import Any

import sympy
from math_verify import verify

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.rules.labels import MEMBER, SYMBOL
from verl_egrsd.reward.rules.lists import both_signs
from verl_egrsd.reward.rules.parts import cut, inner
from verl_egrsd.reward.rules.reading import parse_formula
from verl_egrsd.reward.verdict import Reason

_RELATION = re.compile(r"\\(?:le|ge|ne)(?![a-zA-Z])|[<>]")
OR = re.compile(r"\\text\s*\{\s*,?\s*or\s*\}|(?<![a-zA-Z\\])or(?![a-zA-Z])|\\(?:vee|lor|cup)(?![a-zA-Z])")
_AND = re.compile(
    r"\\text\s*\{\s*,?\s*and\s*\}|(?<![a-zA-Z\\])and(?![a-zA-Z])|\\(?:wedge|land|cap)(?![a-zA-Z])"
)
_COMMA = re.compile("[,;]")
SUCH_THAT = re.compile(r"\\mid(?![a-zA-Z])|\||:|\\text\s*\{\s*such that\s*\}")
VARIABLE = re.compile(SYMBOL)
SPECIAL = {
    "\\mathbb{R}": sympy.S.Reals, "\\mathbb{Z}": sympy.S.Integers, "\\mathbb{N}": sympy.S.Naturals,
    "\\text{all real numbers}": sympy.S.Reals, "all real numbers": sympy.S.Reals,
    "\\text{all reals}": sympy.S.Reals, "all reals": sympy.S.Reals, "\\emptyset": sympy.S.EmptySet,
}  # fmt: skip


def solution_sets(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""The same numbers in another notation are the same set; the variable counts.

    m \ge \sqrt{2} == m \in [\sqrt{2}, +\infty)
    -2 \le x \le 7 == [-2,7]
    x<1 \text{ or } x>3 == (-\infty,1)\cup(3,\infty)
    \{x \mid -3<x<4\} == (-3,4)
    x \ne 5, x \ne -5 == x \ne \pm 5
    x > 0, x \ne 1 == (0,1)\cup(1,\infty)
    \mathbb{R} == (-\infty,\infty)
    \text{no solution} == \emptyset
    x<1 != x \le 1
    x<1 \text{ or } x>3 != 1<x<3
    y<2 != x<2
    """
    notations = [_is_a_notation(text) for text in (answer, ground_truth)]
    if not any(notations):
        return None
    (names, given), (wanted_names, wanted) = as_set(answer), as_set(ground_truth)
    if given is None or wanted is None:
        return None
    if names and wanted_names and names != wanted_names:
        return "wrong"
    equal = verify([wanted], [given], timeout_seconds=None, raise_on_error=True)
    return "correct" if equal else "wrong"


def as_set(text: str) -> tuple[set[str], sympy.Set | None]:
    """Return the variables of a text and its set of real numbers; None if it describes no set."""
    text = text.strip()
    if text in SPECIAL:
        return set(), SPECIAL[text]
    if re.fullmatch(r"(?:\\text\{)?\s*(?:there (?:is|are) )?no solutions?\s*\}?", text, re.IGNORECASE):
        return set(), sympy.S.EmptySet
    if built := _set_builder(text):
        return set(), as_set(built)[1]
    for separator, combine in ((OR, sympy.Union), (_AND, sympy.Intersection), (_COMMA, _all_or_any)):
        parts = [part for part in cut(text, separator) if part]
        if len(parts) > 1:
            return _combined(parts, combine)
    if _RELATION.search(text):
        return _inequality(text)
    member = cut(text, MEMBER)
    if len(member) == 2 and VARIABLE.fullmatch(member[0]):
        return {_name(member[0])}, as_set(member[1])[1]
    return set(), _interval(text)


def _is_a_notation(text: str) -> bool:
    return (
        text in SPECIAL
        or "no solution" in text.lower()
        or bool(_RELATION.search(text))
        or _set_builder(text) is not None
        or bool(MEMBER.search(text))
    )


def _set_builder(text: str) -> str | None:
    content = inner(text, "\\{\\}")
    parts = cut(content, SUCH_THAT) if content else []
    if len(parts) != 2 or not VARIABLE.fullmatch(cut(parts[0], MEMBER)[0]):
        return None
    return parts[1] if VARIABLE.fullmatch(parts[0]) else f"{parts[0]}, {parts[1]}"


def _combined(parts: list[str], combine: Any) -> tuple[set[str], sympy.Set | None]:
    names: set[str] = set()
    sets = []
    for part in parts:
        named, found = as_set(part)
        if found is None:
            return names, None
        names |= named
        sets.append(found)
    return names, combine(*sets)


def _all_or_any(*sets: sympy.Set) -> sympy.Set:
    """A comma means "and". If no number satisfies both conditions, it means "or"."""
    both = sympy.Intersection(*sets)
    return sympy.Union(*sets) if both is sympy.S.EmptySet else both


def _inequality(text: str) -> tuple[set[str], sympy.Set | None]:
    sides, signs = cut(text, _RELATION), _RELATION.findall(text)
    variables = [position for position, side in enumerate(sides) if VARIABLE.fullmatch(side)]
    if len(variables) != 1 or len(signs) != len(sides) - 1 or len(sides) > 3:
        return set(), None
    position = variables[0]
    found: sympy.Set = sympy.S.Reals
    for number, sign in enumerate(signs):
        is_left = number < position
        bounds = _bounds(sides[number if is_left else number + 1], sign)
        if bounds is None:
            return set(), None
        found = found.intersect(sympy.Intersection(*(_half_line(sign, bound, is_left) for bound in bounds)))
    return {_name(sides[position])}, found


def _bounds(text: str, sign: str) -> list[sympy.Expr] | None:
    texts = both_signs(text) if sign == "\\ne" else [text]
    values = [parse_formula(one) for one in texts]
    real = all(
        isinstance(value, sympy.Expr) and value.is_number and value.is_extended_real for value in values
    )
    return values if real else None


def _half_line(sign: str, bound: sympy.Expr, is_left: bool) -> sympy.Set:
    bound = bound.doit()
    if sign == "\\ne":
        return sympy.Complement(sympy.S.Reals, sympy.FiniteSet(bound))
    is_upper = (sign in ("<", "\\le")) != is_left
    is_open = sign in "<>"
    return (
        sympy.Interval(-sympy.oo, bound, True, is_open)
        if is_upper
        else sympy.Interval(bound, sympy.oo, is_open, True)
    )


def _interval(text: str) -> sympy.Set | None:
    value = parse_formula(text)
    if (
        isinstance(value, sympy.Tuple)
        and len(value) == 2
        and all(getattr(end, "is_extended_real", False) for end in value)
    ):
        value = sympy.Interval.open(*value)
    return value.doit() if isinstance(value, sympy.Set) else None


def _name(text: str) -> str:
    return re.sub(r"[\s{}]", "", text)
