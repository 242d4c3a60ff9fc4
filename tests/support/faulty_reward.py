"""A reward function that fails for the first rows, each in another way, and verifies the other answers."""

from typing import Any

from verl_egrsd.reward import compute_score as verify

NAN = float("nan")


def raises() -> float:
    """Fail as users' code does."""
    raise KeyError("no such answer")


FAULTS = {
    "train": (lambda: NAN, lambda: None, lambda: 5.0, raises),
    "validation": (lambda: NAN, raises),
}
"""By split: what happens to the rows 0, 1, ..."""


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> Any:
    """Return the verdict, or what the fault of this row gives."""
    faults = FAULTS[extra_info["split"]]
    if extra_info["index"] < len(faults):
        return faults[extra_info["index"]]()
    return verify(data_source, solution_str, ground_truth, extra_info)
