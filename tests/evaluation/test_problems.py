"""Benchmarks come from any parquet in verl's schema; what cannot be evaluated is named."""

import pandas as pd
import pytest

from data_prep.parquet import parquet_writer
from data_prep.rows import to_row
from recipes.rehearsal.task import generate_rows
from verl_egrsd.evaluation.problems import privileged_digest, problem_id, problems_digest, read_benchmarks
from verl_egrsd.teacher.templates import TEMPLATES


def write(path, rows):
    pd.DataFrame(rows).to_parquet(path)
    return path


def prepared(index, answer="4"):
    problem = f"What is {index}+{index}?"
    facts = {"solution": "", "split": "test", "source": "x"}
    return to_row(data_source="sums", problem=problem, answer=answer, index=index, **facts)


def asked(row, instruction):
    turn = {"role": "user", "content": f"{row['extra_info']['problem']} {instruction}"}
    return row | {"prompt": [turn]}


@pytest.fixture
def folder(tmp_path):
    with parquet_writer(tmp_path / "sums.parquet") as writer:
        for index in (2, 3, 5):
            writer.write(prepared(index))
    write(tmp_path / "more.parquet", generate_rows("validation", 4, seed=0))
    return tmp_path


def test_a_folder_gives_its_files_by_name(folder):
    benchmarks = read_benchmarks([folder])
    assert {name: len(problems) for name, problems in benchmarks.items()} == {"more": 4, "sums": 3}
    first = benchmarks["sums"][0]
    assert (first.id, first.index) == (problem_id(prepared(2)["prompt"]), 2)
    assert (first.messages, first.ground_truth) == (prepared(2)["prompt"], "4")


def test_a_problem_is_its_whole_conversation(folder):
    """The same problems with another instruction are other problems: each file asks with its own prompts."""
    other = write(
        folder / "other.parquet", [asked(prepared(index), "Answer at once.") for index in (2, 3, 5)]
    )
    benchmarks = read_benchmarks([folder / "sums.parquet", other])
    ids = [[problem.id for problem in problems] for problems in benchmarks.values()]
    assert len({id for problems in ids for id in problems}) == 6
    assert ids[0] == [problem.id for problem in read_benchmarks([folder / "sums.parquet"])["sums"]]


def test_one_file_may_ask_a_problem_in_two_ways(tmp_path):
    path = write(tmp_path / "ways.parquet", [prepared(2), asked(prepared(2), "Answer at once.")])
    assert len({problem.id for problem in read_benchmarks([path])["ways"]}) == 2


def test_benchmarks_and_problems_can_be_chosen(folder):
    chosen = read_benchmarks([folder], only=["sums"], limit=2)
    assert {name: [problem.index for problem in problems] for name, problems in chosen.items()} == {
        "sums": [2, 3]
    }


def test_the_digest_depends_on_what_is_asked_and_expected_and_not_on_the_order(folder):
    problems = read_benchmarks([folder])["sums"]
    assert problems_digest(problems) == problems_digest(problems[::-1])
    changed = write(folder / "other.parquet", [prepared(2, answer="5"), prepared(3), prepared(5)])
    assert problems_digest(read_benchmarks([changed])["other"]) != problems_digest(problems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [rows[0], rows[1], rows[0]], r"rows 0 and 2 of .* are the same problem"),
        (lambda rows: [rows[0] | {"prompt": []}], r"row 0 of .* has an empty prompt"),
        (
            lambda rows: [rows[0] | {"reward_model": {"style": "rule", "ground_truth": " "}}],
            r"row 0 of .* has an empty reward_model\.ground_truth",
        ),
        (lambda rows: [{"prompt": rows[0]["prompt"]}], r"has no column extra_info"),
        (lambda rows: [rows[0] | {"prompt": "What is 2+2?"}], r"prompt of row 0 of .*not a list of messages"),
        (lambda rows: [rows[0] | {"extra_info": "{}"}], r"extra_info of row 0 of .*json\.loads"),
        (
            lambda rows: [rows[0] | {"reward_model": {"ground_truth": ["4"]}}],
            r"reward_model\.ground_truth of row 0 of .* is the list \['4'\]",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, change, message):
    path = write(tmp_path / "bad.parquet", change([prepared(2), prepared(3)]))
    with pytest.raises(ValueError, match=message):
        read_benchmarks([path])


def test_for_the_teacher_a_problem_has_what_the_template_shows_and_keeps_its_id(folder):
    student = read_benchmarks([folder])["more"]
    teacher = read_benchmarks([folder / "more.parquet"], template=TEMPLATES["reference_solution"])["more"]
    solutions = [row["extra_info"]["solution"] for row in generate_rows("validation", 4, seed=0)]
    assert [one.privileged for one in teacher] == [{"extra_info": {"solution": text}} for text in solutions]
    assert [one.id for one in teacher] == [one.id for one in student]
    assert [one.messages for one in teacher] == [one.messages for one in student]


def test_the_wrong_solution_is_that_of_another_problem_of_the_file(folder):
    template = TEMPLATES["wrong_solution"]
    found = read_benchmarks([folder], only=["more"], limit=3, template=template)["more"]
    shown = [one.privileged["extra_info"] for one in found]
    solutions = {row["extra_info"]["solution"] for row in generate_rows("validation", 4, seed=0)}
    assert all(texts["solution_of_another_row"] in solutions - {texts["solution"]} for texts in shown)


def test_what_the_teacher_reads_has_a_digest_of_its_own_and_the_problems_keep_theirs(folder):
    read = [None, TEMPLATES["none"], TEMPLATES["answer_only"]]
    found = [read_benchmarks([folder / "sums.parquet"], template=template)["sums"] for template in read]
    assert {problems_digest(problems) for problems in found} == {
        "e4612281c19d61e974fcdefb65c937b6827903ad2d0c6022d7ce3ec51193ba6c"
    }
    assert len({privileged_digest(problems) for problems in found}) == 3
    assert privileged_digest(found[2]) == privileged_digest(found[2][::-1])


def test_a_row_without_what_the_template_shows_is_named(folder):
    with pytest.raises(
        ValueError, match=r"extra_info.solution of row 0 of .*sums.parquet .*the teacher's template"
    ):
        read_benchmarks([folder], only=["sums"], template=TEMPLATES["reference_solution"])


def test_names_that_are_missing_or_given_twice_are_refused(folder):
    with pytest.raises(ValueError, match=r"no benchmark is called fly: those found are more, sums\."):
        read_benchmarks([folder], only=["sums", "fly"])
    with pytest.raises(ValueError, match=r"are both called sums: rename one of them\."):
        read_benchmarks([folder, folder / "sums.parquet"])
    with pytest.raises(ValueError, match=r"limit=0 is not allowed"):
        read_benchmarks([folder], limit=0)
    with pytest.raises(FileNotFoundError, match=r"nothing is neither a parquet file nor a folder"):
        read_benchmarks([folder / "nothing"])


def test_a_ground_truth_of_zero_is_an_answer(tmp_path):
    path = write(tmp_path / "zero.parquet", [prepared(2) | {"reward_model": {"ground_truth": 0}}])
    assert read_benchmarks([path])["zero"][0].ground_truth == "0"
