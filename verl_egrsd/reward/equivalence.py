"""When two answers are equal: rules that know what people write, around math-verify's judgement.

Runs in the worker processes of the pool. There is no time limit in here, and sympy can compute for hours.
Both texts are first brought into one spelling. Then each rule in turn may decide, or compare the parts of
what it knows; what no rule claims is left to math-verify.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from verl_egrsd.reward.rules import readable
from verl_egrsd.reward.rules.bases import number_bases
from verl_egrsd.reward.rules.choice import choices
from verl_egrsd.reward.rules.context import Context
from verl_egrsd.reward.rules.labels import equations
from verl_egrsd.reward.rules.lists import lists, tuples
from verl_egrsd.reward.rules.percents import percents
from verl_egrsd.reward.rules.piecewise import cases
from verl_egrsd.reward.rules.quantities import compound_quantities, quantities
from verl_egrsd.reward.rules.reading import is_decimal, same_value
from verl_egrsd.reward.rules.sets import solution_sets
from verl_egrsd.reward.rules.words import clock_times, dates, ratios, words
from verl_egrsd.reward.verdict import Reason

DECISIONS: tuple[Callable[[str, str, Context], Reason | None], ...] = (
    choices,
    clock_times,
    dates,
    cases,
    solution_sets,
    compound_quantities,
    lists,
    equations,
    tuples,
    ratios,
    percents,
    number_bases,
    quantities,
    words,
)
"""Rules that compare, in their order. Each returns None for what is not its own."""
MOST_PARTS = 6
"""Parts of parts that are compared by rules; what is nested deeper goes to math-verify as it is."""


def equivalent(answer: str, ground_truth: str, problem: str | None = None) -> Reason:
    """Judge one answer against the ground truth, both LaTeX or plain.

    Args:
        answer: what the response ends on.
        ground_truth: the reference answer.
        problem: text of the problem, which some rules ask; None where it is not known.

    Returns:
        `correct`, `wrong`, or `unparsed` where neither a rule nor math-verify can read one of the two.

    Raises:
        Exception: whatever sympy raises; the worker turns it into `error`.
    """
    return _judge(problem, MOST_PARTS, readable(answer), readable(ground_truth))


def _judge(problem: str | None, parts_left: int, answer: str, ground_truth: str) -> Reason:
    if parts_left and not (is_decimal(answer) and is_decimal(ground_truth)):
        context = Context(problem, partial(_judge, problem, parts_left - 1))
        for decide in DECISIONS:
            verdict = decide(answer, ground_truth, context)
            if verdict is not None:
                return verdict
    return same_value(answer, ground_truth)
