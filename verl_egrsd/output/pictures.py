"""Shared by pictures and pages: equal input gives equal bytes, and a page loads no other files.

Colours are Okabe and Ito's, which colour-blind eyes tell apart, without their yellow, which vanishes on
paper. No picture relies on colour alone: shapes or line styles differ too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY, PALE = "#777777", "#b5b5b5"
_STYLE: Any = {
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
def style() -> Iterator[None]:
    """Draw with the style of this package, whatever the user's matplotlib is set to."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def render(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """Return the figure as a file's content, without a date."""
    content = BytesIO()
    with style():
        figure.savefig(content, format=form, dpi=_DPI, metadata=_METADATA[form])
    return content.getvalue()


def inline(svg: bytes) -> str:
    """Return an SVG as an element of a page, without XML declaration and document type."""
    return "<svg" + svg.decode().partition("<svg")[2]


def fill(package: str, template: str, **values: Any) -> str:
    """Fill a template file of a package; values are escaped unless the template marks them as safe."""
    environment = Environment(
        loader=PackageLoader(package, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(**values)
