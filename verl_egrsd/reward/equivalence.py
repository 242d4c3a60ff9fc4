"""When two answers are equal: rules for the notations that people use, then math-verify.

This runs in the worker processes of the pool. It has no time limit of its own, and sympy can compute for
hours. Both texts are first rewritten into one spelling. Then each rule in turn may decide, or may compare the
parts of an answer. If no rule decides, math-verify does.
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
from verl_egrsd.reward.rules.quantities import amounts_with_units, compound_quantities
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
    amounts_with_units,
    words,
)
"""Rules that compare, in their order. A rule returns None if it does not apply."""
MOST_PARTS = 6
"""Levels of nested parts that rules compare; math-verify judges anything nested deeper."""


def equivalent(answer: str, ground_truth: str, problem: str | None = None) -> Reason:
    """Judge one answer against the ground truth, both LaTeX or plain.

    Args:
        answer: final answer of the response.
        ground_truth: the reference answer.
        problem: text of the problem, which some rules read; None if it is not known.

    Returns:
        `correct`, `wrong`, or `unparsed` if neither a rule nor math-verify can read one of the two.

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
