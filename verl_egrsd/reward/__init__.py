"""The verifier: is a response's final answer equal to the ground truth, and if not, why not?

verl takes `compute_score` from here (`reward.custom_reward_function.path=pkg://verl_egrsd.reward`). Read in
this order: `reasoning` (where an answer may stand), `answer` (what it is), `equivalence` (when two answers
are equal), `verdict` (what is recorded), `pool` (processes and time limits), `score` (verl's view),
`selftest` (before the first rollout).
"""

from verl_egrsd.reward.answer import final_answer, normalise
from verl_egrsd.reward.pool import VerdictPool, verify_answer
from verl_egrsd.reward.reasoning import PROMPT_OPENS_REASONING, opens_reasoning, warn_of_hidden_marks
from verl_egrsd.reward.score import compute_score, problem_text
from verl_egrsd.reward.selftest import self_test
from verl_egrsd.reward.verdict import REASONS, Reason, Verdict

__all__ = [
    "PROMPT_OPENS_REASONING",
    "REASONS",
    "Reason",
    "Verdict",
    "VerdictPool",
    "compute_score",
    "final_answer",
    "normalise",
    "opens_reasoning",
    "problem_text",
    "self_test",
    "verify_answer",
    "warn_of_hidden_marks",
]
