"""Tables for the terminal and for Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "l") -> str:
    """Return a Markdown table with aligned columns.

    Args:
        head: titles of the columns.
        rows: cells, as many per row as there are titles.
        align: `l` (texts) or `r` (numbers) for each column from the left; the columns after them are `r`.
    """
    # Two characters at least: Markdown wants a dash beside the colon.
    widths = [max(2, *map(len, column)) for column in zip(head, *rows, strict=True)]
    left = [side == "l" for side in align.ljust(len(widths), "r")]

    def line(cells: Sequence[str]) -> str:
        columns = zip(cells, widths, left, strict=True)
        padded = (cell.ljust(width) if is_left else cell.rjust(width) for cell, width, is_left in columns)
        return f"| {' | '.join(padded)} |"

    pairs = zip(widths, left, strict=True)
    rule = [":" + "-" * (width - 1) if is_left else "-" * (width - 1) + ":" for width, is_left in pairs]
    return "\n".join(map(line, (head, rule, *rows)))


def verbatim_markdown(text: str) -> str:
    """Return a text of a stranger as Markdown shows it: one line without a link, HTML, block or new cell."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|~]|^[#>]|^[-+](?= )", r"\\\g<0>", line)
