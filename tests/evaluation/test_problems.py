"""Benchmarks come from any parquet in verl's schema; what cannot be evaluated is named."""

import pandas as pd
import pytest

from data_prep.parquet import parquet_writer
from data_prep.rows import to_row
from verl_egrsd.evaluation.problems import problems_digest, read_benchmarks
from verl_egrsd.rehearsal.task import generate_rows


def write(path, rows):
    pd.DataFrame(rows).to_parquet(path)
    return path


def prepared(index, answer="4"):
    problem = f"What is {index}+{index}?"
    facts = {"solution": "", "split": "test", "source": "x"}
    return to_row(data_source="sums", problem=problem, answer=answer, index=index, **facts)


@pytest.fixture
def folder(tmp_path):
    with parquet_writer(tmp_path / "sums.parquet") as writer:
        for index in (2, 3, 5):
            writer.write(prepared(index))
    write(tmp_path / "more.parquet", generate_rows("validation", 4, seed=0))
    return tmp_path


def test_a_folder_gives_its_files_by_name_with_the_prepared_hash_as_id(folder):
    benchmarks = read_benchmarks([folder])
    assert {name: len(problems) for name, problems in benchmarks.items()} == {"more": 4, "sums": 3}
    first = benchmarks["sums"][0]
    assert (first.id, first.index) == (prepared(2)["extra_info"]["hash"], 2)
    assert (first.messages, first.ground_truth) == (prepared(2)["prompt"], "4")


def test_a_row_without_a_hash_is_identified_by_its_messages(folder):
    ids = {problem.id for problem in read_benchmarks([folder])["more"]}
    assert len(ids) == 4
    assert ids == {problem.id for problem in read_benchmarks([folder / "more.parquet"])["more"]}


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
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, change, message):
    path = write(tmp_path / "bad.parquet", change([prepared(2), prepared(3)]))
    with pytest.raises(ValueError, match=message):
        read_benchmarks([path])


def test_names_that_are_missing_or_given_twice_are_refused(folder):
    with pytest.raises(ValueError, match=r"no benchmark is called fly: those found are more, sums\."):
        read_benchmarks([folder], only=["sums", "fly"])
    with pytest.raises(ValueError, match=r"are both called sums: rename one\."):
        read_benchmarks([folder, folder / "sums.parquet"])
    with pytest.raises(ValueError, match=r"limit=0 is not allowed"):
        read_benchmarks([folder], limit=0)
    with pytest.raises(FileNotFoundError, match=r"nothing is no parquet file and no folder of them"):
        read_benchmarks([folder / "nothing"])
