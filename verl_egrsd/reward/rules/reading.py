"""What a text means to sympy, and when two meanings are equal: a narrower form of math-verify's judgement.

math-verify calls all numbers near 0 equal, keeps `i` as a variable, and takes `{1, 2}` for the point (1, 2).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify
from math_verify.grader import is_equation, should_treat_as_complex

from verl_egrsd.reward.rules.numbers import ungrouped
from verl_egrsd.reward.rules.parts import cut, inner
from verl_egrsd.reward.verdict import Reason

RELATIVE_TOLERANCE = 1e-5
"""Two numbers whose difference is larger than this share of the larger one are different."""
DECIMAL_TOLERANCE = 1e-12
"""Two numbers closer than this share are equal when one of them is a decimal fraction."""
_REMEMBERED = 512
"""Readings that are kept: the ground truth of a prompt is read once for all its rollouts."""
WITHOUT_UNITS = NormalizationConfig(boxed="none", units=False, malformed_operators=True, nits=True)
NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+)")
IMAGINARY = re.compile(r"(?<![a-zA-Z\\_])(?<!_\{)i(?![a-zA-Z])")
_COMMA = re.compile(",")
UNEVALUATED = (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)
"""Expressions that take long to evaluate at a point."""
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")


def same_value(answer: str, ground_truth: str) -> Reason:
    r"""Judge two readable formulas, numbers or sets.

    0.5 == \frac{1}{2}
    0.333333 == \frac{1}{3}
    0.333 != \frac{1}{3}
    10^{-20} != 0
    (x+1)^2 == x^2+2x+1
    \{1,2\} != (1,2)
    """
    answer, ground_truth = ungrouped(answer), ungrouped(ground_truth)
    if is_decimal(answer) and is_decimal(ground_truth):
        return "correct" if _same_number(Fraction(answer), Fraction(ground_truth)) else "wrong"
    texts = answer, ground_truth
    is_complex = any(should_treat_as_complex(text) or IMAGINARY.search(text) for text in texts)
    value, truth = (parse_formula(text, not is_complex) for text in texts)
    if truth is None or value is None:
        return "unparsed"
    if (is_equation(truth) and not is_equation(value)) or {_brackets(text) for text in texts} == {"()", "{}"}:
        return "wrong"
    gap, decimals = _gap(truth, value)
    if gap > RELATIVE_TOLERANCE:
        return "wrong"
    if decimals and gap < DECIMAL_TOLERANCE:
        return "correct"
    if _is_formula(truth) and _is_formula(value):
        if differ_at_a_point(truth, value):
            return "wrong"
        if truth.doit() == value.doit():
            return "correct"
    equal = verify([truth], [value], allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True)
    return "correct" if equal else "wrong"


@lru_cache(maxsize=_REMEMBERED)
def parse_formula(text: str, is_real: bool = True) -> Any:
    """Return what a readable text means to sympy; None if it cannot be read as a whole.

    Args:
        text: as :func:`verl_egrsd.reward.rules.readable` returns it.
        is_real: whether letters stand for real numbers.
    """
    if is_decimal(text):
        return sympy.Number(text)
    has_degrees = "\\circ" in text and TRIGONOMETRIC.search(text) is not None
    try:
        value = latex2sympy(
            normalize_latex(text, WITHOUT_UNITS),
            is_real=is_real,
            convert_degrees=has_degrees,
            normalization_config=None,
        )
    except MemoryError:
        raise  # by the limit of the worker: the next one may read it
    except Exception:  # the parser raises bare exceptions on text that is not LaTeX
        return None
    return imaginary_unit(value) if IMAGINARY.search(text) else value


def imaginary_unit(value: Any) -> Any:
    r"""A free letter i is the imaginary unit.

    \frac{1}{i} == -i
    \frac{3}{5}+\frac{4}{5}i == \frac{3+4i}{5}
    2e^{i\pi/3} == 1+i\sqrt{3}
    2i != 2
    """
    letters = [symbol for symbol in getattr(value, "free_symbols", ()) if symbol.name == "i"]
    return value.subs(dict.fromkeys(letters, sympy.I)) if letters else value


def is_decimal(text: str) -> bool:
    """Return whether a text is a whole number or a decimal fraction, digits alone."""
    return NUMBER.fullmatch(text) is not None


def differ_at_a_point(a: sympy.Expr, b: sympy.Expr) -> bool:
    r"""Formulas that differ at one point are different: faster than sympy's search for a proof.

    (x+1)^2 != x^2+1
    \sin^2 x + \cos^2 x == 1
    \sqrt{x^2} != x+1
    """
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    if not symbols:
        return False
    point = {symbol: sympy.Rational(37 + 23 * place, 41) for place, symbol in enumerate(symbols)}
    values = [formula.evalf(15, subs=point) for formula in (a, b)]
    if not all(value.is_number and value.is_finite for value in values):
        return False
    return bool(abs(values[0] - values[1]) > RELATIVE_TOLERANCE * max(map(abs, values)))


def _is_formula(value: Any) -> bool:
    return isinstance(value, sympy.Expr) and not value.is_Symbol and not value.has(*UNEVALUATED)


def _same_number(a: Fraction, b: Fraction) -> bool:
    if a == b or (a.denominator == 1 and b.denominator == 1):
        return a == b
    gap = abs(a - b) / max(abs(a), abs(b))
    return gap < DECIMAL_TOLERANCE or (gap <= RELATIVE_TOLERANCE and round(a, 6) == round(b, 6))


def _gap(a: Any, b: Any) -> tuple[float, bool]:
    """Return the relative difference of two numbers (0 for other values), and whether one is a decimal."""
    if not all(isinstance(value, sympy.Expr) and value.is_number for value in (a, b)):
        return 0.0, False
    size = max(abs(sympy.N(a)), abs(sympy.N(b)))
    if not size.is_finite or size == 0:
        return 0.0, False
    return float(abs(sympy.N(a) - sympy.N(b)) / size), a.has(sympy.Float) or b.has(sympy.Float)


def _brackets(text: str) -> str:
    """Return which brackets enclose several elements, "" for none."""
    kinds = {"()": inner(text, "()"), "{}": inner(text, "\\{\\}")}
    return next((kind for kind, content in kinds.items() if content and len(cut(content, _COMMA)) > 1), "")
