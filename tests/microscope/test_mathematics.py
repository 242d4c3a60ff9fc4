"""Formulas are drawn from known elements only; whatever is not understood stays the text that it is."""

from __future__ import annotations

import re
from html import unescape
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_egrsd.microscope import mathematics
from verl_egrsd.microscope.mathematics import (
    ATTRIBUTES,
    CHILDREN,
    LONGEST_FORMULA,
    drawn,
    drawn_answer,
    mathml,
)

PIECES = (
    *(
        "\\",
        "$",
        "$$",
        "{",
        "}",
        "^",
        "_",
        "&",
        "<",
        ">",
        '"',
        "'",
        "x",
        "1",
        " ",
        "\n",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
    ),
    *(
        "\\frac",
        "\\sqrt",
        "\\text",
        "\\href",
        "\\color",
        "\\left(",
        "\\right)",
        "\\begin{matrix}",
        "\\end{matrix}",
    ),
    *(
        "\\hspace{99em}",
        "<script>",
        "javascript:",
        "\\unknown",
        "\\style",
        "\\class",
        "\\rule{9em}{9em}",
        "\\\\",
    ),
)


def elements(markup):
    """Every element of a drawn text, which must be well formed."""
    return list(ElementTree.fromstring(f"<body>{markup}</body>").iter())[1:]


def source(markup):
    """The text with each formula as its source."""
    text = re.sub(
        r'<span class="formula(?: block)?" title="([^"]*)">.*?</span>', r"\1", str(markup), flags=re.DOTALL
    )
    return unescape(text)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8", exclude_categories=["C"]), max_size=30)
)
def test_whatever_a_text_holds_only_known_elements_come_out_and_nothing_is_lost(pieces):
    text = "".join(pieces)
    for found in (drawn(text), drawn_answer(text)):
        assert source(found) == text
        for element in elements(found):
            assert element.tag in {"span", *CHILDREN}
            known = ("class", "title") if element.tag == "span" else ATTRIBUTES
            assert all(name in known for name in element.attrib)


@pytest.mark.parametrize(
    "text",
    ["$x^2$", "$$x^2$$", r"\(x^2\)", r"\[x^2\]", r"a $\frac{1}{2}$, b", r"$\$5 + x$", "($n$)-gon", "$n$th"],
)
def test_a_formula_between_its_marks_is_drawn(text):
    assert "<math" in drawn(text)
    assert source(drawn(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("it costs $5, or $6 with tax", "from $5-$6", "$ x $", r"\$x\$", "a $ b", "US$5 and A$6", "", "$$"),
        *(
            r"$\frac{1}$",
            r"$\unknown x$",
            "${{{$",
            r"$\def\x{\y\y}\x$",
            r"$\newcommand{\x}{y}\x$",
            r"$\phantom{x}$",
        ),
    ],
)
def test_amounts_and_what_is_not_understood_stay_text(text):
    assert "<" not in drawn(text)
    assert unescape(drawn(text)) == text


def test_an_answer_needs_no_marks_and_numbers_and_words_stay_text():
    assert "<mfrac>" in drawn_answer(r"\frac{3}{4}")
    assert "<msup>" in drawn_answer("x^2")
    assert [drawn_answer(text) for text in ("72", "the answer", "<b>٣</b>")] == [
        "72",
        "the answer",
        "&lt;b&gt;٣&lt;/b&gt;",
    ]


def test_what_could_run_lead_elsewhere_or_hide_is_left_out():
    for latex in (
        r"\href{javascript:x}{a}",
        r"\color{red}{a}",
        r"\style{position:fixed}{a}",
        r"\hspace{999em}a",
    ):
        found = mathml(latex, False)
        assert found is None or not re.search("href|color|style=|999", found), latex
    assert mathml(r"\text{<script>x</script>}", False).count("&lt;script&gt;") == 1


HUGE = 100_000


@pytest.mark.parametrize(
    "text",
    [
        *(
            "$" * HUGE,
            r"\(" * HUGE,
            r"\[ " * HUGE,
            "$x" * HUGE,
            "$" + "{" * HUGE + "$",
            "$" + "x^" * HUGE + "$",
        ),
        *(
            f"${opened * 90}x{closed * 90}$"
            for opened, closed in ((r"\sqrt{", "}"), ("{", "}"), ("x^{", "}"))
        ),
        "$" + r"\left(" * 120 + r"\right)" * 120 + "$",
        "$" + "\\\\" * HUGE,
    ],
    ids=lambda text: f"{text[:6]}_{len(text)}",
)
def test_huge_and_nested_texts_do_not_hang(text):
    assert source(drawn(text)) == text


def test_the_longest_formula_is_drawn_and_a_longer_one_is_not():
    assert mathml("x" * LONGEST_FORMULA, False) is not None
    assert mathml("x" * (LONGEST_FORMULA + 1), False) is None


def test_an_error_of_our_own_is_seen(monkeypatch):
    def broken(node):
        raise NameError(node.tag)

    monkeypatch.setattr(mathematics, "_element", broken)
    with pytest.raises(NameError):
        mathematics.mathml("x^{77}", False)
