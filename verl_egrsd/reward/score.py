"""verl's view of a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verl_egrsd.reward.pool import TIME_LIMIT, verify_answer
from verl_egrsd.reward.reasoning import starts_inside
from verl_egrsd.reward.verdict import REASONS


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Any = None,
    *,
    reasoning_counts: bool = False,
    time_limit: float = TIME_LIMIT,
    **_: Any,
) -> dict[str, Any]:
    """Return verl's score (1 or 0), and the values that verl averages or uses for its majority vote.

    verl calls this from a thread of a reward worker. Settings go through
    `+reward.custom_reward_function.reward_kwargs.time_limit=10`.

    Args:
        data_source: name of the data set; all are judged in the same way.
        solution_str: decoded response.
        ground_truth: the reference answer, text or a number.
        extra_info: the row's column. The verifier reads its `problem` (or `question`), and
            `prompt_opens_reasoning`, which this package's data set adds if the response starts inside the
            reasoning.
        reasoning_counts: as in :func:`verl_egrsd.reward.verify_answer`.
        time_limit: seconds for one answer.

    Returns:
        `score` and `acc` (1 or 0), one flag for each reason, `strict` and `disagreement` (which of the two
        paths agreed), and the answer as `pred`, verl's key for the majority vote ("" without an answer).

    Raises:
        ValueError: for a row without a ground truth.
    """
    if ground_truth is None:
        raise ValueError(
            f"a row of {data_source} has no reward_model.ground_truth: prepare the data with one."
        )
    verdict = verify_answer(
        solution_str,
        str(ground_truth),
        inside_reasoning=starts_inside(extra_info),
        problem=problem_text(extra_info),
        reasoning_counts=reasoning_counts,
        time_limit=time_limit,
    )
    return {
        "score": float(verdict.correct),
        "acc": float(verdict.correct),
        "pred": verdict.extracted,
        **{reason: float(verdict.reason == reason) for reason in REASONS},
        "strict": float(verdict.strict),
        "disagreement": float(verdict.disagreement),
    }


def problem_text(extra_info: Any) -> str | None:
    """Return a row's problem: `problem`, as `data_prep` writes it, or `question`, as verl's scripts do."""
    if not isinstance(extra_info, Mapping):
        return None
    texts = (extra_info.get(name) for name in ("problem", "question"))
    return next((text for text in texts if isinstance(text, str)), None)
