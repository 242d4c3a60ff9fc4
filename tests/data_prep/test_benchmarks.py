"""The six benchmarks become parquet files that are whole, checked and named alike everywhere."""

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from data_prep import benchmarks
from data_prep.benchmarks import (
    BENCHMARKS,
    PROCESSES,
    benchmark_rows,
    clean_answer,
    main,
    to_benchmark_row,
    write_benchmark,
)
from tests.support.published import FOLDER, published
from verl_egrsd.output.files import file_digest
from verl_egrsd.reward import VerdictPool

FILES = {
    "aime24": "aime24",
    "aime25": "aime25",
    "math500": "math500",
    "minerva": "minerva_math",
    "gsm8k": "gsm8k_test",
}


def source_of(tmp_path: Path, name: str, rows: list[dict]) -> str:
    tmp_path.mkdir(parents=True, exist_ok=True)
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{name}={path}"


def thirty(**columns) -> list[dict]:
    return [{"problem": f"What is {number}+3?", "answer": str(number + 3)} | columns for number in range(30)]


@pytest.mark.parametrize(
    ("name", "raw", "solution", "answer"),
    [
        ("aime24", {"id": 60, "problem": "P", "solution": "S", "answer": "033", "year": "2024"}, "S", "33"),
        ("aime24", {"problem": "P", "reference_solution": "S", "expected_answer": 204}, "S", "204"),
        ("aime25", {"problem": "P", "answer": "70", "id": "0"}, "", "70"),
        ("aime25", {"problem": "P", "answer": 0.0}, "", "0"),
        ("aime25", {"problem": "P", "solution": None, "answer": "070", "url": ""}, "", "70"),
        (
            "hmmt_feb_2025",
            {"problem_idx": 1, "problem": "P", "answer": "$\\frac{1}{576}$", "problem_type": ["Algebra"]},
            "",
            "\\frac{1}{576}",
        ),
        (
            "hmmt_feb_2025",
            {"problem_idx": 2, "problem": "P", "answer": "\\sqrt{5}, -\\sqrt{5}"},
            "",
            "\\sqrt{5}, -\\sqrt{5}",
        ),
        ("math500", {"problem": "P", "solution": "S", "answer": "10,\\!080", "level": 2}, "S", "10080"),
        ("math500", {"problem": "P", "solution": "S", "answer": "\\text{east}"}, "S", "\\text{east}"),
        ("minerva", {"problem": "P", "solution": "\\boxed{1}, no: \\boxed{4.5e33}"}, None, "4.5e33"),
        ("minerva", {"question": "P", "answer": "x_{0}$ + $y"}, "", "x_{0}$ + $y"),
        (
            "gsm8k",
            {"question": "P", "answer": "6*8=<<6*8=48>>48\nSo 48.\n#### 1,048"},
            "6*8=48\nSo 48.",
            "1048",
        ),
    ],
)
def test_every_known_form_of_a_row_gives_problem_solution_and_answer(name, raw, solution, answer):
    row = to_benchmark_row(BENCHMARKS[name], raw, 3, "somewhere")
    extra = row["extra_info"]
    assert (row["data_source"], row["reward_model"]["ground_truth"], extra["answer"]) == (
        name,
        answer,
        answer,
    )
    assert (extra["problem"], extra["index"], extra["split"]) == ("P", 3, "test")
    assert extra["solution"] == (raw["solution"] if solution is None else solution)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        (
            "aime24",
            {"problem": "P", "answer": "1000"},
            "aime24, row 3: the answer '1000' is not a whole number",
        ),
        ("aime25", {"problem": "P", "answer": "-1"}, "whole number from 0 to 999"),
        ("aime25", {"problem": "P", "answer": "1.5"}, "whole number from 0 to 999"),
        (
            "aime25",
            {"problem": "P", "answer": ["1", "2"]},
            "row 3: the column answer holds a list of several",
        ),
        (
            "math500",
            {"problem": {"text": "P"}, "answer": "1"},
            "column problem holds an object.*Write it as text",
        ),
        ("math500", {"problem": " ", "answer": "1"}, "row 3: the problem is empty"),
        ("math500", {"problem": "P", "solution": "\\boxed{1}", "answer": None}, "row 3: the answer is empty"),
        ("minerva", {"problem": "P", "solution": "no box"}, "row 3: the answer is empty"),
        (
            "math500",
            {"text": "P", "answer": "1"},
            "a column problem or question .* columns found: text, answer",
        ),
        ("minerva", {"problem": "P", "idx": 0}, "a column answer or solution; columns found: problem, idx"),
    ],
)
def test_a_row_that_would_spoil_the_evaluation_is_an_error_that_names_it(name, raw, message):
    with pytest.raises(ValueError, match=message):
        to_benchmark_row(BENCHMARKS[name], raw, 3, "somewhere")


@pytest.mark.parametrize(
    ("answer", "cleaned"),
    [
        ("$5$", "5"),
        ("\\$32,\\!348", "32348"),
        ("1,450,000", "1450000"),
        ("1{,}000", "1000"),
        ("-7.", "-7"),
        ("$x$ and $y$", "$x$ and $y$"),
        ("(1,200)", "(1,200)"),
        ("1,2", "1,2"),
        ("\\sin x", "\\sin x"),
        ("5\\%", "5\\%"),
    ],
)
def test_a_cleaned_answer_means_the_same(answer, cleaned):
    assert clean_answer(answer) == cleaned


def test_the_command_writes_the_files_and_a_table_of_them(tmp_path, capsys):
    given = ["--source", source_of(tmp_path, "hmmt_feb_2025", thirty(problem_type=["Algebra"]))]
    out = tmp_path / "out"
    assert main(["--out", str(out), "--only", "hmmt_feb_2025", *given]) == 0
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")[1:-1]]
    file = out / "hmmt_feb_2025.parquet"
    assert cells == ["HMMT Feb 2025", "30", "0", str(file), file_digest(file)]
    frame = pd.read_parquet(out / "hmmt_feb_2025.parquet")
    assert [extra["source"] for extra in frame["extra_info"]] == ["hmmt_feb_2025.jsonl"] * 30


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (thirty()[:29], "aime25 has 30 problems, .* has 29 rows"),
        ([*thirty(), {"problem": "Another?", "answer": "1"}], "aime25 has 30 problems, .* has 31 rows"),
        ([], "aime25 has 30 problems, .* has 0 rows"),
        (
            [*thirty()[:29], thirty()[4] | {"problem": "what is $4+3$"}],
            "rows 4 and 29 .* are the same problem",
        ),
    ],
)
def test_a_source_that_is_not_the_whole_benchmark_is_refused_and_nothing_is_written(
    tmp_path, capsys, rows, message
):
    given = ["--source", source_of(tmp_path, "aime25", rows)]
    assert main(["--out", str(tmp_path / "out"), "--only", "aime25", *given]) == 1
    errors = capsys.readouterr().err
    assert re.search(message, errors)
    assert "--source aime25=PATH" in errors
    assert not list((tmp_path / "out").rglob("*"))


def test_an_answer_that_cannot_be_found_again_is_refused_and_nothing_is_written(tmp_path, capsys):
    rows = [*thirty()[:29], {"problem": "P", "answer": "\\frac{1"}]
    given = ["--source", source_of(tmp_path, "hmmt_feb_2025", rows)]
    assert main(["--out", str(tmp_path / "out"), "--only", "hmmt_feb_2025", *given]) == 1
    assert "row 29: the verifier does not accept the answer" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_answers_that_are_compared_as_strings_only_are_counted(tmp_path, capsys):
    rows = [*thirty()[:28], *({"problem": name, "answer": f"{name} \\star b"} for name in "ab")]
    given = ["--source", source_of(tmp_path, "hmmt_feb_2025", rows)]
    assert main(["--out", str(tmp_path), "--only", "hmmt_feb_2025", *given]) == 0
    assert re.search(r"\| HMMT Feb 2025 \| +30 \| +2 \|", capsys.readouterr().out)


def test_what_was_written_before_an_error_stays_and_is_listed(tmp_path, capsys):
    given = [
        *("--source", source_of(tmp_path, "aime24", thirty())),
        *("--source", source_of(tmp_path, "aime25", thirty()[:3])),
    ]
    assert main(["--out", str(tmp_path / "out"), "--only", "aime24", "aime25", *given]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["aime24.parquet"]
    assert re.search(r"\| AIME24 +\| +30 \|", capsys.readouterr().out)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_with_its_code_and_one_line(monkeypatch, tmp_path, capsys, number, code):
    monkeypatch.setattr(benchmarks, "write_benchmark", lambda *_: signal.raise_signal(number))
    with pytest.raises(SystemExit) as left:
        main(["--out", str(tmp_path)])
    assert left.value.code == code
    assert capsys.readouterr().err == "data_prep.benchmarks: interrupted: run the same command again.\n"


def test_a_copy_of_a_benchmark_on_the_hub_gives_its_own_configuration_and_split(tmp_path):
    for place in ("socratic/test", "main/train"):
        source_of(tmp_path / place, "0000", [{"question": "other", "answer": "#### 1"}])
    rows = [{"question": f"What is {number}+3?", "answer": f"#### {number + 3}"} for number in range(30)]
    source_of(tmp_path / "main/test", "0000", rows)
    gsm8k = replace(BENCHMARKS["gsm8k"], rows=30)
    found = list(benchmark_rows(gsm8k, str(tmp_path)))
    assert [row["extra_info"]["problem"] for row in found] == [row["question"] for row in rows]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "aime2024"],
        ["--source", "aime2024=a.jsonl"],
        ["--source", "aime24"],
        ["--only", "aime24", "--source", "gsm8k=a.jsonl"],
    ],
)
def test_a_wrong_call_ends_with_code_2_and_names_what_is_known(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as end:
        main(["--out", str(tmp_path), *arguments])
    assert end.value.code == 2
    errors = capsys.readouterr().err.replace("'", "")
    assert re.search("aime24, aime25, hmmt_feb_2025|gsm8k, which --only leaves out", errors)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[dict], list[dict]]]:
    """By name: answers compared as strings only, rows as written, rows as published."""
    folder = tmp_path_factory.mktemp("benchmarks")
    written = {}
    with VerdictPool(PROCESSES) as pool:
        for name, file in FILES.items():
            source = published(file)
            benchmark = replace(BENCHMARKS[name], rows=len(source))
            unread = write_benchmark(
                benchmark, folder / f"{name}.parquet", str(FOLDER / f"{file}.jsonl"), pool
            )
            rows = pd.read_parquet(folder / f"{name}.parquet").to_dict("records")
            written[name] = (unread, rows, source)
    return written


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_keeps_every_problem_and_its_answers_can_be_compared(real, name):
    unread, rows, source = real[name]
    problems = [each.get("problem") or each["question"] for each in source]
    assert [row["extra_info"]["problem"] for row in rows] == [problem.strip() for problem in problems]
    # Minerva has answers such as `E_{1},E_{2}`, and some that take math-verify seconds.
    assert (unread > 0) == (name == "minerva")


@pytest.mark.parametrize(("name", "unboxed"), [("aime24", [7]), ("math500", [])])
def test_a_solution_and_a_separate_answer_agree(real, name, unboxed):
    # Row 7 of these ends in \framebox, which is no box.
    _, rows, _ = real[name]
    with VerdictPool(PROCESSES) as pool:
        pairs = ((row["extra_info"]["solution"], row["reward_model"]["ground_truth"]) for row in rows)
        reasons = [verdict.reason for verdict in pool.verify(pairs)]
    assert reasons == ["no_answer" if index in unboxed else "correct" for index in range(len(rows))]


def test_two_runs_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        given = ["--only", "aime25", "--source", source_of(tmp_path, "aime25", thirty())]
        assert main(["--out", str(tmp_path / folder), *given]) == 0
    assert file_digest(tmp_path / "a" / "aime25.parquet") == file_digest(tmp_path / "b" / "aime25.parquet")
