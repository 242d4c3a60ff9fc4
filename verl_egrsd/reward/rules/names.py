"""Plain names and operators, as in source code or on a keyboard, that stand for LaTeX commands."""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.parts import tokens

FUNCTIONS = (
    "arcsin|arccos|arctan|arccot|arcsec|arccsc|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc"
    "|ln|log|exp|gcd|lcm|max|min|det"
)
_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|pi|rho|sigma|tau|phi|omega"
NOT_A_COMMAND = r"(?<![\\a-zA-Z])"
FUNCTION = re.compile(
    rf"{NOT_A_COMMAND}(?:np\.|math\.)?({FUNCTIONS})(?=\s*[\^(\\\d]|\s*_|\s+[a-z](?![a-zA-Z]))"
)
ARC = re.compile(r"\b(?:np\.|math\.)?a(sin|cos|tan)(?=\s*\()")
CONSTANT = re.compile(rf"{NOT_A_COMMAND}(?:np\.|math\.)?({_GREEK})(?![a-zA-Z])")
INFINITY = re.compile(rf"{NOT_A_COMMAND}(?:infinity|infty|inf|oo)(?![a-zA-Z])", re.IGNORECASE)
CALL = re.compile(r"(?:\\?sqrt|\\?abs)\s*\(")
_RELATION = (
    (re.compile(r"<=|=<|\\leqslant|\\leqq|\\leq(?![a-zA-Z])"), "\\\\le "),
    (re.compile(r">=|=>|\\geqslant|\\geqq|\\geq(?![a-zA-Z])"), "\\\\ge "),
    (re.compile(r"!=|\\neq(?![a-zA-Z])|\\not\s*="), "\\\\ne "),
    (re.compile(r"<>"), "\\\\ne "),
)
ROMAN = re.compile(r"\\(?:text|mathrm|operatorname)\s*\{\s*([eid])\s*\}")
_OPERATOR = re.compile(rf"\\operatorname\s*\*?\s*\{{\s*({FUNCTIONS})\s*\}}")
EMPTY = re.compile(r"\\varnothing(?![a-zA-Z])|\\\{\s*\\\}|\\o(?![a-zA-Z])")
SYNONYMS = (
    (re.compile(r"\\operatorname\s*\*?\s*(?=\{)"), r"\\text"),
    (re.compile(r"\\(?:lbrace|\{)(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\(?:lvert|rvert|vert)(?![a-zA-Z])"), "|"),
    (re.compile(r"\\(?:degree|degrees)(?![a-zA-Z])"), r"^\\circ "),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?"), r"^\\circ "),
    (re.compile(r"\\infin(?![a-zA-Z])"), r"\\infty "),
    (re.compile(r"\\(?:backslash|smallsetminus)(?![a-zA-Z])"), r"\\setminus "),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\imath(?![a-zA-Z])"), "i"),
    (re.compile(r"\\Bbb\s*"), r"\\mathbb"),
    (re.compile(r"\\mathbb\s*([A-Z])(?![a-zA-Z])"), r"\\mathbb{\1}"),
)


def plain_names(text: str) -> str:
    r"""Names of functions and constants are commands.

    pi/2 -> \pi /2
    288pi -> 288\pi
    7*sin(pi*x/5)+1 -> 7*\sin(\pi *x/5)+1
    np.arcsin(10/13) -> \arcsin(10/13)
    (-inf, 3) -> (-\infty , 3)
    pine -> pine
    \pi -> \pi
    """
    if not re.search("[a-zA-Z]{2}|[a-z][*(]", text):
        return text
    text = ARC.sub(r"arc\1", text)
    text = CONSTANT.sub(r"\\\1 ", FUNCTION.sub(r"\\\1", text))
    return INFINITY.sub(r"\\infty ", text)


def plain_operators(text: str) -> str:
    r"""Operators of the keyboard are those of LaTeX.

    2*3 -> 2\cdot 3
    x**2 -> x^2
    x <= 2 -> x \le  2
    x != 5 -> x \ne  5
    x^(1/2) -> x^{1/2}
    sqrt(x+1) -> \sqrt{x+1}
    \sqrt(2) -> \sqrt{2}
    """
    text = text.replace("**", "^")
    text = re.sub(r"\*(?=\s*[\w(\\{.-])", r"\\cdot ", text)
    for pattern, replacement in _RELATION:
        text = pattern.sub(replacement, text)
    for pattern in (re.compile(r"\^\s*\("), CALL):
        if match := pattern.search(text):
            text = _in_braces(text, match, pattern)
    return text


def _in_braces(text: str, match: re.Match[str] | None, pattern: re.Pattern[str]) -> str:
    """Write the bracket that a match opens, and the one that closes it, as a group."""
    while match:
        opening = match.end() - 1
        ends = (at for token, at, depth in tokens(text[opening:]) if token == ")" and depth == 0)
        closing = next(ends, None)
        if closing is None:
            return text
        content = text[opening + 1 : opening + closing]
        before, after = text[: match.start()], text[opening + closing + 1 :]
        command = match.group()[:-1].strip()
        written = (
            f"|{content}|"
            if "abs" in command
            else f"{'^' if command == '^' else chr(92) + 'sqrt'}{{{content}}}"
        )
        text = before + written + after
        match = pattern.search(text)
    return text


def roman_letters(text: str) -> str:
    r"""Euler's number and the imaginary unit are the same upright and slanted.

    \text{e}^2 -> e^2
    1-\mathrm{i} -> 1-i
    \operatorname{sin} x -> \sin x
    """
    return _OPERATOR.sub(r"\\\1", ROMAN.sub(r"\1", text)) if "{" in text else text


def synonyms(text: str) -> str:
    r"""Commands that mean the same are one.

    \varnothing -> \emptyset
    \{\} -> \emptyset
    45^{\circ} -> 45^\circ
    45\degree -> 45^\circ
    x \lt 2 -> x < 2
    """
    if "\\" not in text:
        return text
    text = EMPTY.sub(r"\\emptyset ", text)
    for pattern, replacement in SYNONYMS:
        text = pattern.sub(replacement, text)
    return text.strip()
