"""Definitions by cases, and systems of equations in the same brace."""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.verdict import Reason

CASES = re.compile(
    r"^(.*?)\\begin\s*\{(?:cases|array|aligned)\}(?:\{[lcr]*\})?(.*)\\end\s*\{(?:cases|array|aligned)\}\s*[.,]?$",
    re.DOTALL,
)
CONDITION = re.compile(
    r"\\text\s*\{\s*(?:if|for|when|where|otherwise|else)?\s*\}|(?<![a-zA-Z\\])(?:if|for|when)(?![a-zA-Z])"
)


def cases(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""The rows of a definition may come in any order; a comma before a condition does not matter.

    \begin{cases} x & x>0 \\1&x\le 0\end{cases} == \begin{cases} x, & x>0 \\ 1, & \text{if } x\le 0\end{cases}
    \begin{cases} -x & x \le 0 \\ x & x>0 \end{cases} == \begin{cases} x & x>0 \\ -x & x\le 0 \end{cases}
    \begin{cases} x=1 \\ y=2 \end{cases} == x=1, y=2
    \begin{cases} x & x>0 \\ -x & x \le 0 \end{cases} != \begin{cases} x & x>0 \\ 0 & x\le 0 \end{cases}
    """
    given, wanted = _rows(answer), _rows(ground_truth)
    if not given and not wanted:
        return None
    if all(len(row) == 1 for row in given + wanted):
        return context.equal(_as_list(answer, given), _as_list(ground_truth, wanted))
    if len(given) != len(wanted):
        return "wrong"
    left = list(wanted)
    for row in given:
        same = next((other for other in left if _same_row(row, other, context)), None)
        if same is None:
            return "wrong"
        left.remove(same)
    return "correct"


def _rows(text: str) -> list[list[str]]:
    """Return the cells of each row; [] for a text without cases."""
    match = CASES.match(text)
    if not match or ("=" in match[1] and not match[1].strip().endswith("=") and match[1].strip()):
        return []
    lines = (line for line in re.split(r"\\\\", match[2]) if line.strip())
    return [[_cell(cell) for cell in line.split("&") if _cell(cell)] for line in lines]


def _cell(text: str) -> str:
    return CONDITION.sub("", text).strip().strip(",.;").strip()


def _as_list(text: str, _rows: list[list[str]]) -> str:
    return ", ".join(cell for row in _rows for cell in row) if _rows else text


def _same_row(one: list[str], other: list[str], context: Context) -> bool:
    same = (
        context.equal(*cells) == "correct" or cells[0] == cells[1] for cells in zip(one, other, strict=False)
    )
    return len(one) == len(other) and all(same)
