"""The consensus gate of GATES, against the examples of its definition."""

from __future__ import annotations

import pytest
import torch

from verl_egrsd.methods import Columns, methods, resolve
from verl_egrsd.methods.consensus import Consensus

ONE = torch.ones(1, 1)
AGREED = ["7", "7", "x", "7", "3", "7", "9", "x"]
OPEN = ["7", "7", "x", "7", "3", "8", "9", "x"]
NOTHING = -1


def columns(*prompts: list[str], nothing: str = "x") -> Columns:
    """Return one row per answer; `nothing` stands for a rollout without one."""
    answers = [NOTHING if answer == nothing else ord(answer) for rows in prompts for answer in rows]
    problems = [number for number, rows in enumerate(prompts) for _ in rows]
    return Columns.of(
        torch.ones(len(answers), 1), answers=torch.tensor(answers), problems=torch.tensor(problems)
    )


def gate(factor: Consensus, *prompts: list[str]) -> list[float]:
    return factor.weights(columns(*prompts), ONE).flatten().tolist()


def test_four_of_eight_agreeing_answers_open_the_gate_of_their_prompt_alone():
    assert gate(Consensus(), AGREED, OPEN) == [1] * 8 + [0] * 8


def test_the_agreeing_rows_alone_may_be_kept():
    assert gate(Consensus(keep="agreeing"), AGREED) == [1, 1, 0, 1, 0, 1, 0, 0]


def test_rollouts_without_an_answer_never_agree():
    assert gate(Consensus(), ["x"] * 8) == [0] * 8


def test_the_same_answer_to_another_prompt_is_no_agreement():
    assert gate(Consensus(agreement=1.0), ["7", "3"], ["7", "3"]) == [0] * 4


def test_one_answer_alone_is_no_agreement():
    assert gate(Consensus(), ["7", "3"], ["7", "7"], ["7"]) == [0, 0, 1, 1, 0]


def test_both_answers_of_a_tie_agree():
    assert gate(Consensus(keep="agreeing"), ["7", "3", "7", "3"]) == [1, 1, 1, 1]


@pytest.mark.parametrize(("agreeing", "opens"), [(13, 0), (14, 1)])
def test_a_share_that_binary_numbers_round_up_still_counts(agreeing, opens):
    rows = ["7"] * agreeing + [chr(ord("a") + i) for i in range(25 - agreeing)]
    assert gate(Consensus(agreement=0.56), rows) == [opens] * 25


def test_credit_is_the_clipped_log_ratio_behind_the_gate():
    method = methods()["gates"]
    student = torch.tensor([[-0.5625457991658953, -1.5154571980759095, -0.059951317036916585]])
    teacher = torch.tensor([[-1.5704888311518408, -0.9768708616718079, -0.2870217883257129]])
    read = Columns.of(
        torch.ones(4, 3),
        problems=torch.tensor([0, 0, 1, 1]),
        answers=torch.tensor([5, 5, 5, 6]),
        student_log_prob=student.expand(4, 3),
        teacher_log_prob=teacher.expand(4, 3),
    )
    advantages = method.advantage.start().advantages(read).unsqueeze(1)
    clipped = [-1.0, 0.5385863364041016, -0.22707047128879632]
    golden = torch.tensor([clipped] * 2 + [[0.0, 0.0, 0.0]] * 2)
    torch.testing.assert_close(method.credit(read, advantages).credit, golden)


def test_a_step_without_answers_has_no_credit_and_says_so():
    read = columns(["x"] * 4)
    assert Consensus().metrics(read, torch.zeros(4, 1))["share_answered"] == 0


def test_it_needs_several_rollouts_of_a_prompt():
    assert methods()["gates"].needs_group


@pytest.mark.parametrize(("key", "value"), [("agreement", 0.0), ("agreement", 1.5), ("keep", "majority")])
def test_a_value_out_of_range_is_refused_by_its_key(key, value):
    with pytest.raises(ValueError, match=f"algorithm.egrsd.consensus.{key}={value!r} is not allowed"):
        resolve("gates", {"consensus": {key: value}}, max_response_length=1)
