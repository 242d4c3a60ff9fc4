"""No problem of a benchmark is learnt, however it is written, and every match can be judged."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.decontaminate import TESTS, BenchmarkProblem, Decontamination, read_benchmark_problems
from data_prep.parquet import parquet_writer
from data_prep.rows import normalise_problem, to_row
from data_prep.similarity import jaccard, shingles
from data_prep.stages import Dropped
from tests.data_prep.test_dedupe import exercise
from tests.support.published import published

POINTS = (
    "Convert the point $(0,3)$ in rectangular coordinates to polar coordinates. Enter your answer in the "
    "form $(r,\\theta),$ where $r > 0$ and $0 \\le \\theta < 2 \\pi.$"
)
COINS = "A coin is thrown 12 times, and heads never come up twice in a row. How often can it be?"
SHORT = "Solve 2 x + 3 = 1"


def against(problems, tests=TESTS, similarity=0.7):
    known = [
        BenchmarkProblem("quiz", i, text, "9", normalise_problem(text)) for i, text in enumerate(problems)
    ]
    return Decontamination(known, tests, ngram_tokens=8, ngram_overlap=0.5, similarity=similarity)


def kinds(problems, texts, tests=TESTS):
    decontamination = against(problems, tests)
    decontamination.drop([exercise(text, i) for i, text in enumerate(texts)])
    return [match.kind for match in decontamination.matches]


def test_a_match_names_both_problems_so_that_a_person_can_judge():
    decontamination = against([COINS, POINTS])
    (result,) = decontamination.drop([exercise(POINTS.replace("$", ""), 5, answer="8")])
    assert result == Dropped("exact match with a benchmark")
    (match,) = decontamination.matches
    assert (match.row, match.match, match.match_problem) == (5, "quiz 1", POINTS)
    assert (match.answer, match.match_answer, match.similarity) == ("8", "9", 1.0)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("exact", COINS.upper() + " "),
        ("ngram", f"Solve two tasks. First, 2+2. Second: {COINS} Then add both results, and explain why."),
        ("ngram", COINS.replace("12", "15")),
        ("near", f"{SHORT} now"),
    ],
)
def test_a_problem_is_found_as_it_is_amid_other_text_with_another_number_and_with_another_word(kind, text):
    assert kinds([COINS, POINTS, SHORT], [text]) == [kind]


def test_a_phrase_that_competitions_share_is_no_match():
    ending = "where m and n are relatively prime positive integers. Find m+n."
    one = f"The chance that five cards of a full deck are all hearts or all spades is m/n, {ending}"
    other = f"Eight circles of radius 34 touch each other inside a triangle whose inradius is m/n, {ending}"
    assert kinds([one], [other]) == []


@pytest.mark.parametrize("left_out", TESTS)
def test_each_test_can_be_left_out(left_out):
    texts = {"exact": COINS, "ngram": f"Before that, {'think ' * 30} of {POINTS}", "near": f"{SHORT} now"}
    problems = [COINS, POINTS, SHORT]
    tests = [test for test in TESTS if test != left_out]
    assert kinds(problems, [texts[left_out]], [left_out]) == [left_out]
    assert left_out not in kinds(problems, list(texts.values()), tests)
    assert kinds(problems, list(texts.values())) == list(TESTS)


def test_without_benchmarks_or_without_tests_every_row_stays():
    rows = [exercise(COINS)]
    assert against([]).drop(rows) == rows
    assert against([COINS], []).drop(rows) == rows


@given(st.text("xyz ", max_size=60), st.text("xyz ", max_size=60), st.sampled_from([COINS, POINTS]))
def test_a_benchmark_problem_is_found_amid_any_other_text(before, after, problem):
    assert len(kinds([COINS, POINTS], [f"{before}. {problem} {after}"])) == 1


TOKENS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join)


@given(st.lists(TOKENS, min_size=1, max_size=6), TOKENS, st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]))
def test_the_index_finds_the_problem_that_a_comparison_with_all_would_find(problems, text, similarity):
    decontamination = against(problems, ["near"], similarity)
    decontamination.drop([exercise(text)])
    best = max(jaccard(shingles(text), shingles(problem)) for problem in problems)
    assert [match.similarity for match in decontamination.matches] == [best] * (best >= similarity)


def test_gsm8ks_own_training_problems_match_its_test_split_where_a_person_sees_the_same_exercise():
    test = [row["question"] for row in published("gsm8k_test")]
    decontamination = against(test)
    rows = [exercise(row["question"], i) for i, row in enumerate(published("gsm8k_train"))]
    decontamination.drop(rows)
    assert [(match.row, match.match) for match in decontamination.matches] == [
        (123, "quiz 62"),
        (135, "quiz 62"),
    ]


def test_benchmarks_are_read_from_the_files_that_data_prep_writes(tmp_path):
    row = to_row(
        data_source="quiz", problem=COINS, solution="", answer="9", index=4, split="test", source="here"
    )
    with parquet_writer(tmp_path / "quiz.parquet") as writer:
        writer.write(row)
    assert read_benchmark_problems(tmp_path) == [
        BenchmarkProblem("quiz", 4, COINS, "9", normalise_problem(COINS))
    ]


def test_a_folder_without_benchmarks_is_an_error_that_says_how_to_make_them(tmp_path):
    with pytest.raises(ValueError, match=r"no parquet file: make them with python -m data_prep\.benchmarks"):
        read_benchmark_problems(tmp_path)
    pd.DataFrame({"question": ["x"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"other\.parquet has the columns question"):
        read_benchmark_problems(tmp_path)
