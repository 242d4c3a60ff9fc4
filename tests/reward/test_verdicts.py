"""Verdicts on equal, different and poisonous answers, and the figures on published solutions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reward import kind_cases
from tests.reward.poison_cases import TABLE
from tests.support.published import published
from verl_egrsd.reward import VerdictPool, final_answer, verify_answer

pytestmark = pytest.mark.stack

# Healthy answers take milliseconds; what cannot be computed should not hold up the tests.
LIMIT = 5.0


@pytest.fixture(scope="module")
def pool() -> Iterator[VerdictPool]:
    with VerdictPool(2, time_limit=LIMIT) as pool:
        yield pool


@pytest.fixture(scope="module")
def patient_pool() -> Iterator[VerdictPool]:
    """A pool for healthy pairs, whose verdict must not depend on how busy the machine is."""
    with VerdictPool(2, time_limit=120) as pool:
        yield pool


def test_each_poisonous_answer_gets_its_verdict(pool):
    verdicts = pool.verify((response, truth) for _, response, truth, _ in TABLE)
    found = [
        (kind, response[:60], truth[:60], verdict.reason)
        for (kind, response, truth, _), verdict in zip(TABLE, verdicts, strict=True)
    ]
    assert found == [(kind, response[:60], truth[:60], reason) for kind, response, truth, reason in TABLE]


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("12", "12"),
        ("1000", "1,000"),
        ("$12$", "12"),
        ("12.", "12"),
        ("\\frac{1}{2}", "0.5"),
        ("0.5", "\\frac12"),
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("2\\sqrt{2}", "\\sqrt{8}"),
        ("x^2+2x+1", "(x+1)^2"),
        ("3.0", "3"),
        ("10^{3}", "1000"),
    ],
)
def test_equal_answers_are_correct(answer, truth):
    verdict = verify_answer(f"\\boxed{{{answer}}}", truth)
    assert (verdict.correct, verdict.reason, verdict.extracted) == (True, "correct", answer)


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(1, 10**3))
def test_an_integer_equals_itself_with_separators_and_no_other(number, step):
    assert verify_answer(f"\\boxed{{{number:,}}}", str(number)).correct
    assert verify_answer(f"\\boxed{{{number + step}}}", str(number)).reason == "wrong"


@pytest.mark.parametrize(
    ("answer", "truth", "strict", "math", "disagreement"),
    [
        ("12", "12", True, "correct", False),
        ("0.5", "\\frac{1}{2}", False, "correct", True),
        ("5\\unknown", "5\\unknown", True, "unparsed", True),
        ("12", "13", False, "wrong", False),
    ],
)
def test_what_each_path_said_is_recorded(answer, truth, strict, math, disagreement):
    verdict = verify_answer(f"\\boxed{{{answer}}}", truth)
    assert (verdict.strict, verdict.math, verdict.disagreement) == (strict, math, disagreement)


def test_the_public_pairs_get_the_verdict_of_a_person(patient_pool):
    lines = (Path(__file__).parent / "pairs.jsonl").read_text().splitlines()
    pairs = [json.loads(line) for line in lines]
    verdicts = patient_pool.verify((pair["response"], pair["gold"]) for pair in pairs)
    judged = [(pair["id"], verdict.correct) for pair, verdict in zip(pairs, verdicts, strict=True)]
    assert len(pairs) == 95
    assert judged == [(pair["id"], pair["expected"]) for pair in pairs]


@pytest.mark.parametrize(
    ("table", "correct"),
    [(kind_cases.EQUAL, True), (kind_cases.DIFFERENT, False)],
    ids=["equal", "different"],
)
def test_pairs_of_each_kind_are_told_apart(patient_pool, table, correct):
    pairs = [(f"\\boxed{{{answer}}}", truth) for cases in table.values() for answer, truth in cases]
    verdicts = patient_pool.verify(pairs)
    assert [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.correct != correct] == []


def test_the_problem_decides_what_answer_and_truth_leave_open(patient_pool):
    items = [
        (f"\\boxed{{{answer}}}", truth, problem) for problem, answer, truth, _ in kind_cases.WITH_PROBLEM
    ]
    found = [
        (*item, verdict.correct) for item, verdict in zip(items, patient_pool.verify(items), strict=True)
    ]
    assert found == [(*item, case[-1]) for item, case in zip(items, kind_cases.WITH_PROBLEM, strict=True)]


def test_reasoning_counts_when_asked_for():
    response = "<think>\\boxed{12}</think> done"
    assert verify_answer(response, "12").reason == "no_answer"
    assert verify_answer(response, "12", reasoning_counts=True).correct


PUBLISHED = ("math500", "gsm8k_test", "minerva_math")


def solved(name: str) -> list[tuple[str, str]]:
    """(solution, answer) of each published problem; Minerva has no answers but those in its solutions."""
    rows = published(name)
    if name.startswith("gsm8k"):
        return [(row["answer"], row["answer"].rsplit("#### ", 1)[1]) for row in rows]
    return [(row["solution"], row.get("answer", final_answer(row["solution"]))) for row in rows]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_solution_is_correct(patient_pool, name):
    pairs = solved(name)
    verdicts = patient_pool.verify(pairs)
    assert [pair for pair, verdict in zip(pairs, verdicts, strict=True) if not verdict.correct] == []


NAMED_VALUE = [("5", "x=5"), ("x=5", "5")]
"""Accepted though not written alike: a value, named."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_of_answers_rotated_by_one_problem_only_equal_ones_are_accepted(pool, name):
    pairs = solved(name)
    truths = [truth for _, truth in pairs[1:] + pairs[:1]]
    verdicts = pool.verify((solution, truth) for (solution, _), truth in zip(pairs, truths, strict=True))
    rotated = [(answer, truth) for (_, answer), truth in zip(pairs, truths, strict=True)]
    accepted = [pair for pair, verdict in zip(rotated, verdicts, strict=True) if verdict.correct]
    assert accepted == [pair for pair in rotated if pair[0] == pair[1] or pair in NAMED_VALUE]
