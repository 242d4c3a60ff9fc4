"""The generated task: right solutions, two manners of reasoning, a clean split."""

import dataclasses
import itertools
import random
import re

import pytest

from recipes.rehearsal import task

REHEARSAL, MINIATURE = task.ROLES["rehearsal"], task.ROLES["miniature"]


def problems(count, seed=0):
    rng = random.Random(seed)
    return [task.generate_problem(rng) for _ in range(count)]


def additions(text):
    return [tuple(map(int, found)) for found in re.findall(r"(\d+)\+(\d+)=(\d+)", text)]


def test_every_solution_is_right_and_ends_in_the_boxed_sum():
    for problem in problems(300):
        assert problem.answer == str(sum(problem.numbers))
        assert problem.solution.endswith(f"\\boxed{{{problem.answer}}}.")
        assert sorted(problem.order) == sorted(problem.numbers)
        steps = additions(problem.solution)
        assert all(before + number == total for before, number, total in steps)
        assert [number for _, number, _ in steps] == list(problem.order[1:])


def test_a_problem_has_three_to_six_digits_as_in_its_question():
    for problem in problems(200):
        assert 3 <= len(problem.numbers) <= 6
        assert "+".join(map(str, problem.numbers)) in problem.question


def test_the_teacher_is_right_and_shorter_than_the_student():
    rng = random.Random(1)
    verbose = privileged = 0
    for problem in problems(300):
        response = task.teacher_response(problem, problem.order, REHEARSAL, rng)
        assert response.endswith(f"</think>\n\n\\boxed{{{problem.answer}}}")
        privileged += len(response)
        verbose += len(task.student_response(problem, REHEARSAL, rng))
    assert privileged < 0.9 * verbose


def test_the_student_slips_now_and_then_and_carries_the_slip_on():
    rng = random.Random(1)
    drawn = [(problem, task.student_response(problem, REHEARSAL, rng)) for problem in problems(500)]
    wrong = [text for problem, text in drawn if not text.endswith(f"\\boxed{{{problem.answer}}}")]
    assert 0.08 < len(wrong) / len(drawn) < 0.25
    for text in wrong:
        assert re.search(r"\D(\d+)\.\n</think>", text)[1] == re.search(r"\\boxed\{(\d+)\}$", text)[1]


def test_the_student_uses_another_order_than_the_reference():
    rng = random.Random(2)
    for problem in problems(100):
        order = task.other_order(problem, 0.8, rng)
        assert sorted(order) == sorted(problem.numbers)
        assert order != problem.order or len(set(order)) == 1


def test_an_order_of_other_numbers_is_refused():
    problem = problems(1)[0]
    with pytest.raises(ValueError, match="shown"):
        task.teacher_response(problem, (9, 9, 9, 9, 9, 9, 9), REHEARSAL, random.Random(0))


def test_a_wrong_solution_boxes_a_wrong_sum_in_the_same_order_and_leaves_the_rest():
    rng = random.Random(3)
    for problem in problems(300):
        wrong = task.with_wrong_solution(problem, rng)
        assert not wrong.solution.endswith(f"\\boxed{{{problem.answer}}}.")
        slips = [before + number != total for before, number, total in additions(wrong.solution)]
        assert sum(slips) == 1
        assert [number for _, number, _ in additions(wrong.solution)] == list(problem.order[1:])
        assert dataclasses.replace(wrong, solution=problem.solution) == problem


def test_the_teacher_of_the_miniature_follows_half_of_the_references():
    rng = random.Random(4)
    drawn = [problem for problem in problems(600) if len(set(problem.numbers)) > 2]
    firsts = [
        int(re.search(r"\d", task.teacher_response(problem, problem.order, MINIATURE, rng))[0])
        for problem in drawn
    ]
    followed = sum(first == problem.order[0] for first, problem in zip(firsts, drawn, strict=True))
    # Of the others, one in four or so starts with the same digit by chance.
    assert 0.5 < followed / len(drawn) < 0.75


def test_a_musing_is_a_line_of_words_that_say_nothing_and_only_the_miniature_muses():
    words = rf"(?:{'|'.join(task.MUSINGS)})"
    low, high = (count - 1 for count in task.MUSING_WORDS)
    musing = re.compile(rf"^{words}(?: {words}){{{low},{high}}}\.$", re.MULTILINE)
    rng = random.Random(5)
    for roles, least, most in ((REHEARSAL, 0, 0), (MINIATURE, 0.35, 0.65)):
        found = sum(bool(musing.search(task.student_response(p, roles, rng))) for p in problems(400))
        assert least <= found / 400 <= most


def test_a_check_stands_on_a_line_of_its_own_in_the_miniature_only():
    rng = random.Random(6)
    for roles, apart in ((REHEARSAL, False), (MINIATURE, True)):
        lines = [line for p in problems(200) for line in task.student_response(p, roles, rng).splitlines()]
        checks = [line for line in lines if re.search(r"\b(ok|yes|good)\.$", line) and re.search(r"\d", line)]
        assert len(checks) > 50
        for line in checks:
            assert bool(re.match(r"(hmm|wait,|check:) ", line)) is apart


def test_rows_have_verls_schema():
    row = task.generate_rows("train", 3, seed=0)[2]
    assert list(row) == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
    assert row["data_source"] == "rehearsal/sums"
    assert row["prompt"][0]["role"] == "user"
    assert row["prompt"][0]["content"] == f"{row['extra_info']['problem']}\n{task.INSTRUCTION}"
    assert row["reward_model"] == {"style": "rule", "ground_truth": row["extra_info"]["answer"]}
    assert list(row["extra_info"]) == ["index", "split", "problem", "solution", "answer"]
    assert (row["extra_info"]["index"], row["extra_info"]["split"]) == (2, "train")


def test_rows_are_the_same_for_the_same_seed_only():
    assert task.generate_rows("train", 20, seed=3) == task.generate_rows("train", 20, seed=3)
    assert task.generate_rows("train", 20, seed=3) != task.generate_rows("train", 20, seed=4)


def test_held_out_problems_never_occur_in_training():
    def sums(rows):
        return {re.search(r"\d(\+\d)+", row["extra_info"]["problem"])[0] for row in rows}

    train, validation = (sums(task.generate_rows(split, 500, seed=0)) for split in ("train", "validation"))
    assert len(train) == len(validation) == 500
    assert not train & validation
    supervised = itertools.islice(task.problem_stream("train", random.Random("x")), 2000)
    assert not any(problem.held_out for problem in supervised)


def test_more_rows_than_there_are_problems_are_refused():
    with pytest.raises(ValueError, match="validation"):
        task.generate_rows("validation", 10**6, seed=0)
