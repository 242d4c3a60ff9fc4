"""Pictures: equal input gives equal bytes.

Colours are Okabe and Ito's, which colour-blind eyes tell apart, without their yellow, which vanishes on
paper. No picture relies on colour alone: shapes or line styles differ too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.text import Text

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY, PALE = "#777777", "#b5b5b5"
_FONT = "DejaVu Sans"
"""Comes with matplotlib."""
_STYLE: Any = {
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    # The salt makes the identifiers in an SVG the same in every run.
    "svg.hashsalt": "verl_egrsd",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.7,
}
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
_DPI = 160


@contextmanager
def style(text: str = "") -> Iterator[None]:
    """Draw with the style of this package, whatever the user's matplotlib is set to.

    Args:
        text: what will be written; fonts of this machine draw characters that matplotlib's own font lacks.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["font.family"] = [_FONT, *_other_fonts(set(text) - _characters([_FONT]))]
        yield


def render(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """Return the figure as a file's content, without a date.

    Where no font of this machine has a character, an SVG keeps its texts as text, which the reader's browser
    draws with its own fonts; a PNG shows a box.
    """
    content = BytesIO()
    with style(), warnings.catch_warnings():
        if undrawable(figure):
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            matplotlib.rcParams["svg.fonttype"] = "none"
        figure.savefig(content, format=form, dpi=_DPI, metadata=_METADATA[form])
    return content.getvalue()


def undrawable(figure: Figure) -> str:
    """Return the characters in a figure that no font of this machine has, in order."""
    texts: list[Text] = figure.findobj(Text)
    families = list(dict.fromkeys(family for text in texts for family in text.get_fontfamily()))
    written = set("".join(text.get_text() for text in texts))
    return "".join(sorted(written - _characters(families)))


def _other_fonts(missing: set[str]) -> list[str]:
    """Return fonts of this machine that have these characters, as far as there are any."""
    found = []
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)) if missing else ():
        # The last resort has a picture of each script and no letters.
        if not entry.name.startswith("Last Resort") and missing & (has := _charmap(entry.fname)):
            found.append(entry.name)
            missing = missing - has
    return found


def _characters(families: Sequence[str]) -> set[str]:
    """Return what these fonts can draw, and the line break."""
    return {"\n"}.union(*(_charmap(findfont(family)) for family in families))


@cache
def _charmap(file: str) -> set[str]:
    return {chr(code) for code in get_font(file).get_charmap()}


def inline(svg: bytes) -> str:
    """Return an SVG as an element of a page, without XML declaration and document type."""
    return "<svg" + svg.decode().partition("<svg")[2]
