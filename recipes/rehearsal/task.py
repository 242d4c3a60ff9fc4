"""The task: add three to six digits, thinking aloud.

The generated student behaves like a reasoning model in miniature. It takes the numbers in any order, words
its steps freely, checks what needs no check, and slips now and then; so there is something to gain in
accuracy (fewer slips) and in length (fewer checks), and there are tokens where many continuations are right.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

Split = Literal["train", "validation"]

DATA_SOURCE = "rehearsal/sums"
INSTRUCTION = "Think first, then give the final answer in \\boxed{}."
"""The words that the shipped weights know; real problems get `verl_egrsd.rows.ANSWER_INSTRUCTION`."""
HELD_OUT_SHARE = 8
"""One problem in this many is held out from training, by its hash."""

SIZES, SIZE_WEIGHTS = (3, 4, 5, 6), (4, 3, 2, 1)
"""How many numbers a problem has, and how often: a small model needs easy problems to start from."""
QUESTIONS = ("What is {sum}?", "Find {sum}.", "Add up {sum}.")
STARTS = (
    "start with {total}.",
    "first {total}.",
    "take {total}.",
    "let me see, {total}.",
    "begin at {total}.",
    "ok, {total}.",
)
SHORT_STEPS = ("{before}+{number}={total}.", "then {before}+{number}={total}.")
LONG_STEPS = (
    "now add {number}, so {before}+{number}={total}.",
    "next is {number}: {before}+{number}={total}.",
    "{before} and {number} make {total}.",
    "plus {number} gives {total}.",
    "with {number} it is {total}.",
    "adding {number}: {before}+{number}={total}.",
)
CHECKS = (
    " hmm {before}+{number}={total} ok.",
    " wait, {before}+{number}={total}, yes.",
    " check: {before} plus {number} is {total}, good.",
)
MUSINGS = ("hmm", "wait", "ok", "now", "so", "then", "next", "let", "see", "good", "yes", "check")
"""Words of a musing, which says nothing: any of them may follow any other."""
MUSING_WORDS = (4, 8)
"""Least and most words of a musing."""
ENDS = ("so the sum is {total}.", "that makes {total}.", "all used, the total is {total}.", "done, {total}.")


@dataclass(frozen=True)
class Problem:
    """One problem with its reference solution.

    Attributes:
        numbers: the digits to add, in the order of the question.
        question: the problem as text, without the answer instruction.
        order: the digits in the order of the reference solution.
        solution: the reference solution: concise, correct, ending in the boxed answer.
        answer: the sum, as text.
    """

    numbers: tuple[int, ...]
    question: str
    order: tuple[int, ...]
    solution: str
    answer: str

    @property
    def prompt(self) -> str:
        """The student's user turn: question and answer instruction."""
        return f"{self.question}\n{INSTRUCTION}"

    @property
    def held_out(self) -> bool:
        """Whether the problem belongs to the validation split; a property of its numbers alone."""
        digest = hashlib.sha256("+".join(map(str, self.numbers)).encode()).digest()
        return digest[0] % HELD_OUT_SHARE == 0


@dataclass(frozen=True)
class Manner:
    """How somebody reasons aloud; all values are probabilities per step.

    Attributes:
        slip: a wrong running total, which is then carried on.
        check: a redundant check of the step.
        long: a long phrasing of the step in place of a short one.
        muse: a musing before the step.
        apart: whether a check is a line of its own, so that it competes with the next step; true or false.
    """

    slip: float
    check: float
    long: float
    muse: float = 0.0
    apart: bool = False


@dataclass(frozen=True)
class Roles:
    """The two roles that one set of weights learns; all other values are probabilities per response.

    Attributes:
        student: manner of the student.
        teacher: manner of somebody who has seen the reference.
        question_order: an order that is not the reference's is that of the question; otherwise any order.
        follows: the teacher takes the order of the reference; otherwise another order.
    """

    student: Manner
    teacher: Manner
    question_order: float
    follows: float


ROLES: dict[str, Roles] = {
    "rehearsal": Roles(
        student=Manner(slip=0.05, check=0.3, long=0.7),
        teacher=Manner(slip=0.0, check=0.1, long=0.6),
        question_order=0.8,
        follows=1.0,
    ),
    # The teacher does not always follow, and both muse: its entropy spreads, also over tokens in a row.
    # Optional text begins a line, where many continuations are right: so the gate acts on the length.
    "miniature": Roles(
        student=Manner(slip=0.05, check=0.4, long=0.7, muse=0.2, apart=True),
        teacher=Manner(slip=0.0, check=0.1, long=0.6, muse=0.1, apart=True),
        question_order=0.0,
        follows=0.5,
    ),
}


def generate_problem(rng: random.Random) -> Problem:
    """Draw a problem of three to six digits and a reference solution in an order of its own."""
    numbers = tuple(rng.randint(1, 9) for _ in range(rng.choices(SIZES, SIZE_WEIGHTS)[0]))
    order = shuffled(numbers, rng)
    return Problem(
        numbers=numbers,
        question=rng.choice(QUESTIONS).format(sum="+".join(map(str, numbers))),
        order=order,
        solution=_solution(order),
        answer=str(sum(numbers)),
    )


def with_wrong_solution(problem: Problem, rng: random.Random) -> Problem:
    """Return the problem with a reference that slips once, carries it on, and boxes the wrong sum."""
    slip_at = rng.randint(1, len(problem.order) - 1)
    by = rng.choice([-2, -1, 1, 2, 10])
    return replace(problem, solution=_solution(problem.order, slip_at, by))


def student_response(problem: Problem, roles: Roles, rng: random.Random) -> str:
    """Reason as the student does: in another order than the reference, with checks and slips."""
    return think_aloud(other_order(problem, roles.question_order, rng), roles.student, rng)


def teacher_response(problem: Problem, shown: tuple[int, ...], roles: Roles, rng: random.Random) -> str:
    """Reason as somebody who has seen a reference in the order `shown`: more briefly, without slips.

    Raises:
        ValueError: when `shown` is not an order of the problem's numbers.
    """
    if sorted(shown) != sorted(problem.numbers):
        raise ValueError(
            f"shown={shown} is not an order of {problem.numbers}: pass problem.order or another permutation."
        )
    follows = rng.random() < roles.follows
    order = shown if follows else other_order(problem, roles.question_order, rng)
    return think_aloud(order, roles.teacher, rng)


def think_aloud(order: tuple[int, ...], manner: Manner, rng: random.Random) -> str:
    """Add the numbers in the given order, in words; returns thoughts in `<think>` and the boxed total."""
    total = order[0]
    lines = [rng.choice(STARTS).format(total=total)]
    for number in order[1:]:
        if rng.random() < manner.muse:
            lines.append(" ".join(rng.choices(MUSINGS, k=rng.randint(*MUSING_WORDS))) + ".")
        before, total = total, total + number
        if rng.random() < manner.slip:
            total = _slip(total, rng)
        line = rng.choice(LONG_STEPS if rng.random() < manner.long else SHORT_STEPS)
        if rng.random() < manner.check:
            check = rng.choice(CHECKS)
            line += f"\n{check.lstrip()}" if manner.apart else check
        lines.append(line.format(before=before, number=number, total=total))
    lines.append(rng.choice(ENDS).format(total=total))
    return "<think>\n" + "\n".join(lines) + f"\n</think>\n\n\\boxed{{{total}}}"


def other_order(problem: Problem, question_order: float, rng: random.Random) -> tuple[int, ...]:
    """Return an order other than the reference's; that of the question is the easiest to keep track of."""
    order = problem.numbers if rng.random() < question_order else shuffled(problem.numbers, rng)
    while order == problem.order and len(set(order)) > 1:
        order = shuffled(problem.numbers, rng)
    return order


def shuffled(numbers: tuple[int, ...], rng: random.Random) -> tuple[int, ...]:
    """Return the numbers in a random order."""
    return tuple(rng.sample(numbers, len(numbers)))


def problem_stream(split: Split, rng: random.Random) -> Iterator[Problem]:
    """Yield problems of one split without end; repeats are possible."""
    while True:
        problem = generate_problem(rng)
        if problem.held_out == (split == "validation"):
            yield problem


def generate_rows(split: Split, count: int, seed: int) -> list[dict[str, Any]]:
    """Return `count` different rows of one split in verl's schema; errors as :func:`generate_problems`."""
    return [to_row(problem, i, split) for i, problem in enumerate(generate_problems(split, count, seed))]


def generate_problems(split: Split, count: int, seed: int) -> list[Problem]:
    """Return `count` different problems of one split.

    Raises:
        ValueError: when the split cannot hold that many different problems.
    """
    limit = {"train": 200_000, "validation": 20_000}[split]
    if not 0 < count <= limit:
        raise ValueError(f"rows of the {split} split={count}: choose 1 to {limit}.")
    distinct: dict[tuple[int, ...], Problem] = {}
    for problem in problem_stream(split, random.Random(f"{seed}/{split}")):
        distinct.setdefault(problem.numbers, problem)
        if len(distinct) == count:
            break
    return list(distinct.values())


def to_row(problem: Problem, index: int, split: Split) -> dict[str, Any]:
    """Return one row in verl's schema, with the reference in `extra_info.solution`."""
    return {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "user", "content": problem.prompt}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {
            "index": index,
            "split": split,
            "problem": problem.question,
            "solution": problem.solution,
            "answer": problem.answer,
        },
    }


def _solution(order: tuple[int, ...], slip_at: int = 0, slip: int = 0) -> str:
    """Add the numbers in order; the total after `slip_at` steps, if any, is off by `slip`."""
    totals = [sum(order[: i + 1]) + (slip if 0 < slip_at <= i else 0) for i in range(len(order))]
    steps = [
        f"{before}+{number}={total}"
        for before, number, total in zip(totals, order[1:], totals[1:], strict=False)
    ]
    return ", ".join(steps) + f". The answer is \\boxed{{{totals[-1]}}}."


def _slip(total: int, rng: random.Random) -> int:
    return rng.choice(
        [wrong for wrong in (total - 10, total - 2, total - 1, total + 1, total + 10) if wrong > 0]
    )
