"""Reward functions that fail for one row of the training data, after some good steps."""

import re
import time
from typing import Any

from verl_egrsd.reward import compute_score as verify

ROW = 20
"""Index of the row; without shuffling it belongs to step 3 of batches of 8."""


def gives_nan(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> Any:
    """Give a score that is not a number."""
    return float("nan") if _fails(extra_info) else verify(data_source, solution_str, ground_truth, extra_info)


def raises(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> Any:
    """Fail as users' code does."""
    if _fails(extra_info):
        raise KeyError("no such answer")
    return verify(data_source, solution_str, ground_truth, extra_info)


def hangs(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> Any:
    """Wait for what never comes."""
    if _fails(extra_info):
        time.sleep(3600)
    return verify(data_source, solution_str, ground_truth, extra_info)


def holds_the_interpreter(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> Any:
    """Run a regular expression that takes years; no other thread of its process runs meanwhile."""
    if _fails(extra_info):
        re.match(r"(a+)+$", "a" * 60 + "b")
    return verify(data_source, solution_str, ground_truth, extra_info)


def _fails(extra_info: Any) -> bool:
    return extra_info["split"] == "train" and extra_info["index"] == ROW
