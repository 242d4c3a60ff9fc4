"""Percent signs: a division by 100, or the name of the unit."""

from __future__ import annotations

import re

from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.verdict import Reason

PERCENT = re.compile(
    r"\s*(?:\\?%|\\text\s*\{\s*(?:\\?%|per\s?cent(?:age)?(?:\s+points?)?|pct\.?)\s*\}|(?<![a-zA-Z\\])(?:per\s?cent(?:age)?|pct\.?))[\s.]*$",
    re.IGNORECASE,
)


def percents(answer: str, ground_truth: str, context: Context) -> Reason | None:
    r"""A percent sign on one side only: 50\% is 1/2, and it is 50 where the problem asked for percent.

    50\% == \frac{1}{2}
    50 == 50\%
    28 pct == 28\%
    50 \text{ percent} == 50\%
    5\% != 50\%
    5\% != 0.5
    """
    given, wanted = PERCENT.sub("", answer), PERCENT.sub("", ground_truth)
    if (given, wanted) == (answer, ground_truth):
        return None
    verdict = context.equal(given, wanted)
    if verdict != "wrong" or (given == answer) == (wanted == ground_truth):
        return verdict
    hundredth = "\\frac{%s}{100}"
    return context.equal(
        given if given == answer else hundredth % given,
        wanted if wanted == ground_truth else hundredth % wanted,
    )
