"""Formulas of a text as MathML, which browsers draw without a script and without fonts of a page.

A formula that is not understood stays the text that it is. The texts are those of strangers: of what the
converter makes, only known elements and harmless attributes are kept, and every text is escaped.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape

LONGEST_FORMULA = 1000
"""Characters of a formula; a longer one stays text, which keeps long texts cheap."""
_IN_DOLLARS = rf"(?:\\[\s\S]|[^\\$]){{1,{LONGEST_FORMULA}}}?"
_IN_BRACKETS = rf"(?:\\[^\[\]]|[^\\]){{1,{LONGEST_FORMULA}}}?"
_IN_PARENTHESES = rf"(?:\\[^()]|[^\\]){{1,{LONGEST_FORMULA}}}?"
FORMULA = re.compile(
    rf"\$\$(?P<block>{_IN_DOLLARS})\$\$|\\\[(?P<display>{_IN_BRACKETS})\\\]|\\\((?P<inline>{_IN_PARENTHESES})\\\)"
    rf"|(?<![\\$\w])\$(?!\s)(?P<dollar>{_IN_DOLLARS})(?<!\s)\$(?![$\d])",
)
"""A formula between its marks. A dollar before a number is an amount: no formula ends with a blank."""
BARE = re.compile(r"[\\^_]")
"""What an answer has that is a formula without marks."""
_MACROS = re.compile(r"\\(re)?new|\\provide|\\Declare|\\[egx]?def|\\let(?![a-z])")
"""A macro may grow without a limit."""
_UNKNOWN = re.compile(r"\\[a-zA-Z]+")
"""The converter writes a command that it does not know as it is."""
CHILDREN = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
    **dict.fromkeys(("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mstyle", "msqrt"), None),
    **dict.fromkeys(("mtable", "mtr", "mtd", "mpadded", "menclose"), None),
}
"""The elements that are kept, and how many children those with a fixed number have."""
ATTRIBUTES = {
    "display": re.compile("block|inline"),
    **dict.fromkeys(
        ("stretchy", "fence", "accent", "accentunder", "movablelimits", "displaystyle", "largeop"),
        re.compile("true|false"),
    ),
    "form": re.compile("prefix|infix|postfix"),
    "mathvariant": re.compile("[a-z-]+"),
    "columnalign": re.compile("[a-z ]+"),
    "notation": re.compile("[a-z ]+"),
    "linethickness": re.compile("0"),
    "scriptlevel": re.compile("[0-2]"),
    **dict.fromkeys(("width", "minsize", "maxsize"), re.compile(r"-?[0-3]?(\.\d+)?em")),
}
"""The attributes that are kept, and their values: none hides a part or makes one too large."""


class NotDrawnError(ValueError):
    """An element that is not known, or has children of another number."""


def drawn(text: str) -> Markup:
    """Return a text with its formulas drawn; each shows its source when it is pointed at."""
    parts, end = [], 0
    for found in FORMULA.finditer(text):
        assert found.lastgroup is not None
        block = found.lastgroup in ("block", "display")
        parts += [escape(text[end : found.start()]), _formula(found[0], found[found.lastgroup], block)]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def drawn_answer(text: str) -> Markup:
    """Return an answer drawn: a formula mostly stands in it without marks."""
    return _formula(text, text, False) if BARE.search(text) and "$" not in text else drawn(text)


def _formula(source: str, latex: str, block: bool) -> Markup:
    mathematics = mathml(latex, block)
    if mathematics is None:
        return escape(source)
    return Markup('<span class="formula{}" title="{}">{}</span>').format(
        " block" if block else "", source, mathematics
    )


@cache
def mathml(latex: str, block: bool) -> Markup | None:
    """Return a formula as an element of MathML; None if it is not understood.

    Args:
        latex: the formula without its marks.
        block: whether it stands in a line of its own.
    """
    if len(latex) > LONGEST_FORMULA or _MACROS.search(latex):
        return None
    try:
        tree = convert_to_element(latex, display="block" if block else "inline")
    except Exception:  # the converter's own classes share no base, and it lets out those of Python
        return None
    try:
        return _element(tree)
    except (NotDrawnError, RecursionError):
        return None


def _element(node: Element) -> Markup:
    """Return an element with its attributes and children.

    Raises:
        NotDrawnError: for one that is not known.
    """
    text = unescape(node.text or "")
    if node.tag not in CHILDREN or CHILDREN[node.tag] not in (None, len(node)) or _UNKNOWN.search(text):
        raise NotDrawnError(f"<{node.tag}> with {len(node)} children and the text {text!r} is not drawn")
    attributes = Markup("").join(
        Markup(' {}="{}"').format(name, value)
        for name, value in node.attrib.items()
        if name in ATTRIBUTES and ATTRIBUTES[name].fullmatch(value)
    )
    inside = escape(text) + Markup("").join(
        _element(child) + escape(unescape(child.tail or "")) for child in node
    )
    return Markup("<{0}{1}>{2}</{0}>").format(node.tag, attributes, inside)
