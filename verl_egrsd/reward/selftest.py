"""Does the verifier work on this machine? Asked by the trainer before the first rollout."""

from __future__ import annotations

from functools import cache

from verl_egrsd.reward.pool import VerdictPool
from verl_egrsd.reward.verdict import Reason

KNOWN: tuple[tuple[str, str, Reason], ...] = (
    ("so \\boxed{12}", "12", "correct"),
    ("so \\boxed{0.5}", "\\frac{1}{2}", "correct"),
    ("<think>\\boxed{3}</think> so \\boxed{2\\sqrt{2}}", "\\sqrt{8}", "correct"),
    ("so \\boxed{(x+1)^2}", "x^2+2x+1", "correct"),
    ("#### 1,218", "1218", "correct"),
    ("so \\boxed{13}", "12", "wrong"),
    ("so \\boxed{\\frac{1}{3}}", "0.5", "wrong"),
    ("<think>\\boxed{12}</think> so it is twelve", "12", "no_answer"),
    ("so \\boxed{\\undefined}", "12", "unparsed"),
)
"""Response, ground truth, reason: one example of each reason that does not need a time limit."""
PAIR_LIMIT = 60.0
"""Seconds for one pair: it asks whether the verifier works, on a machine that may be busy with a start."""


def self_test() -> None:
    """Judge a few pairs whose verdict is known; takes about a second, and none once it has passed.

    Raises:
        RuntimeError: naming the first pair with another verdict, or when a worker cannot be started.
    """
    _judge(KNOWN)


@cache
def _judge(known: tuple[tuple[str, str, Reason], ...]) -> None:
    with VerdictPool(1, PAIR_LIMIT) as pool:
        verdicts = pool.verify((response, truth) for response, truth, _ in known)
        for (response, truth, expected), verdict in zip(known, verdicts, strict=True):
            if verdict.reason != expected:
                raise RuntimeError(
                    f"the verifier's self-test failed: {response!r} against {truth!r} is {verdict.reason} "
                    f"(math-verify: {verdict.math}), expected {expected}. Rewards would be wrong: check the "
                    "installed versions of math-verify, latex2sympy2-extended and antlr4-python3-runtime."
                )
