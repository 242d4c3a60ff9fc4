"""Accuracy against length: points with intervals, the Pareto front, lines of equal efficiency.

`points` reads them, `published` has those of the paper, `pareto` is the mathematics, `picture` draws, `page`
makes the HTML, `command` ties them together. Accuracies are shares in [0, 1], lengths are tokens, and
efficiency is percent points per 1,000 tokens.
"""

from verl_egrsd.evaluation.statistics import efficiency
from verl_egrsd.frontier.command import frontier
from verl_egrsd.frontier.pareto import dominates, iso_efficiency, pareto_front
from verl_egrsd.frontier.points import Point, read_points
from verl_egrsd.frontier.published import published_points

__all__ = [
    "Point",
    "dominates",
    "efficiency",
    "frontier",
    "iso_efficiency",
    "pareto_front",
    "published_points",
    "read_points",
]
