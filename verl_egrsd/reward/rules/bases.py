"""Number bases."""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.verdict import Reason

_BASE = re.compile(r"(\d)\s*_\s*\{?\s*(?:\\text\s*\{)?\s*(\d+|two|three|five|eight|ten|sixteen)\s*\}?\}?$")


def number_bases(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A base may be missing on one side; two different ones are never equal.

    12_5 == 12_{5}
    12 == 12_5
    12_5 != 12_3
    13_5 != 12_5
    """
    given, wanted = _BASE.search(answer), _BASE.search(ground_truth)
    if not given and not wanted:
        return None
    if given and wanted and given[2] != wanted[2]:
        return "wrong"
    return context.equal(_BASE.sub(r"\1", answer), _BASE.sub(r"\1", ground_truth))
