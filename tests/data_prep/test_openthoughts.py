"""From a source to verl's parquet: nine stages, each counted, each with its choice."""

import hashlib
import json
from itertools import pairwise

import pandas as pd
import pytest

from data_prep.openthoughts import main, split_of
from data_prep.options import parse_options
from data_prep.parquet import parquet_writer
from data_prep.rows import problem_hash, to_row
from tests.data_prep.raw_rows import GSM8K, METADATA, sums, write_lines
from tests.support.published import published

HALF = ["--validation-share", "0.5"]
NAMES = ["data_card.json", "data_card.md", "lengths.png", "train.parquet", "validation.parquet"]


def prepare(tmp_path, rows, *flags, out="out"):
    """Run the command on rows, and return its folder, all prepared rows and the data card."""
    folder = tmp_path / out
    source = write_lines(tmp_path / "source.jsonl", rows)
    assert main(["--source", source, "--out", str(folder), "--workers", "1", *HALF, *flags]) == 0
    tables = [pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))]
    prepared = pd.concat(tables).to_dict("records")
    prepared.sort(key=lambda row: row["extra_info"]["index"])
    return folder, prepared, json.loads((folder / "data_card.json").read_text())


def stage(card, name):
    return next(account for account in card["stages"] if account["stage"] == name)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_prepared_row_holds_prompt_answer_and_the_solution_that_the_teacher_is_shown(tmp_path):
    folder, rows, card = prepare(tmp_path, [METADATA, *({**METADATA, **r} for r in renamed(sums(9)))])
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    row = rows[0]
    assert row["data_source"] == "openthoughts_math"
    assert row["prompt"][0]["content"].startswith(METADATA["problem"])
    assert row["reward_model"] == {"style": "rule", "ground_truth": "5"}
    info = row["extra_info"]
    assert (info["problem"], info["solution"]) == (METADATA["problem"], METADATA["deepseek_solution"])
    assert (info["answer"], info["source"], info["index"]) == ("5", "olympiads", 0)
    assert info["hash"] == problem_hash(METADATA["problem"])
    assert card["schema"] == "OpenThoughts-114k metadata"
    assert stage(card, "verify")["noted"] == {"verified": 10}


def renamed(rows):
    """Solved exercises in the columns of the metadata schema."""
    return [
        {"problem": r["problem"], "deepseek_solution": r["solution"], "ground_truth_solution": r["solution"]}
        for r in rows
    ]


def test_the_same_input_gives_the_same_bytes_whatever_the_workers(tmp_path):
    source = write_lines(tmp_path / "source.jsonl", sums(60))
    folders = [tmp_path / f"out{workers}" for workers in (1, 2, 1)]
    for run, (folder, workers) in enumerate(zip(folders, "121", strict=True)):
        out = folder.with_name(f"{folder.name}-{run}")
        assert main(["--source", source, "--out", str(out), "--workers", workers, *HALF]) == 0
    first, *others = (contents(path) for path in sorted(tmp_path.glob("out*")))
    assert set(first) == set(NAMES)
    assert all(other == first for other in others)


def test_a_row_never_changes_sides_when_the_data_grows(tmp_path):
    _, few, _ = prepare(tmp_path, sums(40))
    _, many, _ = prepare(tmp_path, list(reversed(sums(80))))
    before, after = (
        {row["extra_info"]["hash"]: row["extra_info"]["split"] for row in rows} for rows in (few, many)
    )
    assert before.items() < after.items()
    assert set(before.values()) == {"train", "validation"}


def test_the_share_of_the_validation_problems_is_the_one_asked_for():
    sides = [split_of(problem_hash(str(i)), 0.2, seed=0) for i in range(2000)]
    assert 0.17 < sides.count("validation") / len(sides) < 0.23
    assert sides != [split_of(problem_hash(str(i)), 0.2, seed=1) for i in range(2000)]


WRONG = {"problem": "What is 1+1?", "solution": "It is \\boxed{3}.", "answer": "2"}
OPEN = {"problem": "Name the ninth odd number.", "solution": "It is \\boxed{17}.", "answer": None}
BARE = {"problem": "Prove that 1+1 is 2.", "solution": "It is clear.", "answer": None}
CODE = {"problem": "Write a program.", "solution": "\\boxed{print}", "answer": None, "domain": "code"}
TWIN = sums(1)[0] | {"solution": f"Longer. {sums(1)[0]['solution']}"}
LONG = {"problem": "long " * 2000, "solution": "\\boxed{1}", "answer": "1"}
LEAKED = {"problem": "How many nuts has Ann in 2 bags?", "solution": "\\boxed{6}", "answer": "6"}


@pytest.fixture
def benchmarks(tmp_path):
    row = to_row(
        data_source="quiz",
        problem=LEAKED["problem"],
        solution="",
        answer="6",
        index=0,
        split="test",
        source="",
    )
    with parquet_writer(tmp_path / "benchmarks" / "quiz.parquet") as writer:
        writer.write(row)
    return str(tmp_path / "benchmarks")


@pytest.mark.parametrize(
    ("row", "name", "reason", "switch"),
    [
        (CODE, "select", "domain code", ["--domain", "any"]),
        (BARE, "answer", "no final answer", None),
        (WRONG, "verify", "wrong", ["--mismatch", "keep"]),
        (WRONG, "verify", "wrong", ["--no-verify"]),
        (BARE | {"answer": "2"}, "verify", "no_answer", ["--mismatch", "keep"]),
        (TWIN, "deduplicate", "exact duplicate", ["--duplicates", "off"]),
        (LEAKED, "decontaminate", "exact match with a benchmark", ["--decontaminate"]),
        (LONG, "lengths", "the student's prompt is too long", ["--no-check-lengths"]),
        (LONG, "lengths", "the student's prompt is too long", ["--max-student-tokens", "9999"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_stage_drops_a_row_for_its_reason_and_keeps_it_when_switched_off(
    tmp_path, benchmarks, row, name, reason, switch
):
    rows = [*sums(12), row]
    flags = ["--benchmarks", benchmarks]
    _, kept, card = prepare(tmp_path, rows, *flags)
    assert len(kept) == 12
    assert stage(card, name)["dropped"] == {reason: 1}
    assert all(account["dropped"] == {} for account in card["stages"] if account["stage"] != name)
    if switch is not None:
        _, kept, card = prepare(tmp_path, rows, *flags, *switch)
        assert len(kept) == 13
        assert all(account["dropped"] == {} for account in card["stages"])


def test_a_row_without_a_separate_ground_truth_is_kept_and_counted_or_dropped_by_choice(tmp_path):
    _, kept, card = prepare(tmp_path, [*sums(12), OPEN])
    assert stage(card, "verify")["noted"] == {"verified": 12, "no_ground_truth": 1}
    assert kept[-1]["reward_model"]["ground_truth"] == "17"
    _, kept, card = prepare(tmp_path, [*sums(12), OPEN], "--no-ground-truth", "drop")
    assert stage(card, "verify")["dropped"] == {"no_ground_truth": 1}
    assert len(kept) == 12


def test_the_solutions_own_answer_can_be_the_ground_truth(tmp_path):
    _, kept, _ = prepare(tmp_path, [*sums(12), WRONG], "--answers", "solution")
    assert kept[-1]["reward_model"]["ground_truth"] == "3"


def test_the_long_reasoning_is_written_when_it_is_asked_for(tmp_path):
    rows = [METADATA | row for row in renamed(sums(12))]
    _, kept, _ = prepare(tmp_path, rows, "--reference", "reasoning")
    assert all("Wait, that makes five." in row["extra_info"]["solution"] for row in kept)


def test_every_stage_takes_in_what_the_one_before_it_let_out(tmp_path, benchmarks):
    rows = [*sums(12), CODE, BARE, WRONG, TWIN, LEAKED, LONG]
    _, kept, card = prepare(tmp_path, rows, "--benchmarks", benchmarks)
    accounts = card["stages"]
    assert accounts[0]["in"] == len(rows)
    assert accounts[-1]["out"] == len(kept) == 12
    for before, after in pairwise(accounts):
        assert before["out"] == after["in"]
    assert all(a["in"] - a["out"] == sum(a["dropped"].values()) for a in accounts)


def test_the_card_lists_every_matched_pair_and_the_hash_of_every_file(tmp_path, benchmarks):
    folder, _, card = prepare(tmp_path, [*sums(12), TWIN, LEAKED], "--benchmarks", benchmarks)
    (duplicate,) = card["matches"]["duplicates"]
    assert (duplicate["row"], duplicate["match"], duplicate["problem"]) == (12, "row 0", TWIN["problem"])
    (leak,) = card["matches"]["contaminated"]
    assert (leak["row"], leak["match"], leak["match_problem"]) == (13, "quiz 0", LEAKED["problem"])
    for text in (TWIN["problem"], LEAKED["problem"]):
        assert text in (folder / "data_card.md").read_text()
    assert set(card["files"]) == set(NAMES) - {"data_card.json"}
    for name, facts in card["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"]
    assert (folder / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_switched_off_is_said_loudly(tmp_path, benchmarks, capsys):
    _, _, card = prepare(tmp_path, sums(12), "--no-verify")
    said = capsys.readouterr().err
    for note in ("Decontamination is off", "Verification is off", "Lengths are in characters"):
        assert f"NOTE: {note}" in said
        assert any(text.startswith(note) for text in card["notes"])
    _, _, card = prepare(tmp_path, sums(12), "--benchmarks", benchmarks, "--no-check-lengths")
    assert card["notes"] == []


def test_verdicts_that_ran_out_of_time_are_said_loudly_since_a_faster_machine_may_differ(tmp_path, capsys):
    slow = {"problem": "Add 1 to x^2.", "solution": "\\boxed{x^2+1}", "answer": "1+x^2"}
    _, kept, card = prepare(tmp_path, [*sums(12), slow], "--time-limit", "0.000001")
    assert stage(card, "verify")["dropped"] == {"timeout": 1}
    assert "NOTE: 1 verdicts ran out of time" in capsys.readouterr().err
    assert len(kept) == 12


def test_a_run_that_breaks_off_leaves_the_earlier_files_and_nothing_else(tmp_path, capsys):
    folder, _, _ = prepare(tmp_path, sums(40))
    before = contents(folder)
    source = tmp_path / "source.jsonl"
    source.write_text(source.read_text() + "{broken\n")
    assert main(["--source", str(source), "--out", str(folder), "--workers", "1", *HALF]) == 1
    assert "line 41 is not JSON" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_run_that_breaks_off_while_it_writes_leaves_the_earlier_files_and_starts_over(
    tmp_path, monkeypatch, capsys
):
    folder, _, _ = prepare(tmp_path, sums(40))
    before = contents(folder)
    source = write_lines(tmp_path / "source.jsonl", sums(50))
    flags = ["--source", source, "--out", str(folder), "--workers", "1", *HALF]
    written = []

    def interrupted(*arguments):
        written.append(arguments)
        if len(written) == 30:
            raise KeyboardInterrupt
        return split_of(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("data_prep.openthoughts.split_of", interrupted)
        with pytest.raises(SystemExit) as left:
            main(flags)
    assert left.value.code == 130
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "data_prep.openthoughts: interrupted: run the same command again."
    assert contents(folder) == before
    assert main(flags) == 0
    fresh, _, _ = prepare(tmp_path, sums(50), out="fresh")
    assert contents(folder) == contents(fresh)


def test_a_split_that_stays_empty_is_an_error_with_the_table_of_stages(tmp_path, capsys):
    source = write_lines(tmp_path / "source.jsonl", [CODE | {"domain": "math"}, CODE])
    assert main(["--source", source, "--out", str(tmp_path / "out"), "--validation-share", "0.001"]) == 1
    said = capsys.readouterr().err
    assert "no row is left for" in said
    assert "domain code 1" in said
    assert not (tmp_path / "out").exists()


def test_without_a_validation_share_there_is_no_validation_file_not_even_an_old_one(tmp_path):
    folder, _, _ = prepare(tmp_path, sums(20))
    _, rows, card = prepare(tmp_path, sums(20), "--validation-share", "0")
    assert not (folder / "validation.parquet").exists()
    assert len(rows) == stage(card, "write")["out"] == 20


def test_a_limit_stops_the_reading(tmp_path):
    _, rows, card = prepare(tmp_path, sums(40), "--limit", "25")
    assert stage(card, "read")["in"] == len(rows) == 25


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--limit", "0"),
        ("--workers", "0"),
        ("--duplicate-similarity", "0"),
        ("--ngram-overlap", "1.5"),
        ("--validation-share", "1"),
        ("--time-limit", "0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_flag(tmp_path, capsys, flag, value):
    assert main(["--source", "x.jsonl", "--out", str(tmp_path), flag, value]) == 1
    assert f"{flag} {float(value) if '.' in value else value}" in capsys.readouterr().err.replace(".0 ", " ")


def test_an_unknown_schema_is_refused_before_anything_is_written(tmp_path, capsys):
    source = write_lines(tmp_path / "source.jsonl", [{"prompt": "x", "reply": "y"}])
    assert main(["--source", source, "--out", str(tmp_path / "out")]) == 1
    assert "Columns found: prompt, reply" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_choice_has_a_flag_with_the_default_of_the_training_configuration():
    options = parse_options(["--source", "s", "--out", "o"], None)
    assert (options.max_student_tokens, options.max_teacher_tokens) == (2048, 18976)
    assert (options.student_thinks, options.teacher_thinks) == (False, True)


def test_math500_is_prepared_whole_when_its_solutions_are_verified(tmp_path):
    _, rows, card = prepare(tmp_path, published("math500"))
    assert stage(card, "verify")["noted"] == {"verified": 121}
    assert len(rows) == 121


def test_math500_without_its_answers_is_kept_and_counted(tmp_path):
    bare = [{"problem": r["problem"], "solution": r["solution"]} for r in published("math500")]
    _, rows, card = prepare(tmp_path, bare)
    assert stage(card, "verify")["noted"] == {"no_ground_truth": 121}
    assert len(rows) == 121


def test_a_wrong_answer_column_drops_the_row_of_real_data(tmp_path):
    rows = published("math500")[:60]
    rotated = [
        row | {"answer": other["answer"]} for row, other in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    _, kept, card = prepare(tmp_path, rotated + sums(20))
    assert stage(card, "verify")["dropped"]["wrong"] >= 55
    assert len(kept) <= 25


def test_gsm8k_is_prepared_from_its_own_form(tmp_path):
    _, rows, card = prepare(tmp_path, [*published("gsm8k_train")[:120], GSM8K])
    assert card["schema"] == "GSM8K"
    assert len(rows) == 121
    assert all("<<" not in row["extra_info"]["solution"] for row in rows)
    assert rows[-1]["reward_model"]["ground_truth"] == "6"


def test_one_bad_row_stops_no_others_and_is_named(tmp_path, capsys):
    good = sums(12)
    bad = [
        good[0] | {"solution": {"steps": ["a"]}},
        good[0] | {"solution": float("nan")},
        good[0] | {"problem": None},
        good[0] | {"answer": ["1", "2"]},
        good[0] | {"problem": "half \ud835 of a letter"},
        {},
        good[0] | {"solution": "no mark", "answer": None},
        good[0] | {"solution": "no mark", "answer": "7"},
        good[0] | {"domain": ["Physics"]},
    ]
    _, rows, card = prepare(tmp_path, [*good, *bad])
    assert len(rows) == 12
    assert stage(card, "select")["dropped"] == {
        "domain physics": 1,
        "holds an object": 1,
        "holds text with half of a surrogate pair": 1,
        "no problem": 2,
        "no solution": 1,
    }
    assert stage(card, "select")["first_dropped"]["holds an object"] == 'row 12: {"steps": ["a"]}'
    assert stage(card, "solution")["first_dropped"] == {
        "holds a list of several values": 'row 15: ["1", "2"]'
    }
    assert stage(card, "answer")["first_dropped"] == {"no final answer": "row 18"}
    assert stage(card, "verify")["first_dropped"] == {"no_answer": "row 19:  against 7"}
    said = capsys.readouterr().err
    for note in (
        "1 rows belong to other domains than mathematics (domain physics 1; the first is row 20): "
        "--domain any",
        "1 rows hold no solution (no solution 1; the first is row 13): --template answer_only",
        "2 rows hold a value that is not text (holds ",
        "1 rows hold an answer that is not text (holds a list of several values 1; the first is row 15",
        "1 rows have no final answer",
        "1 rows have a separate answer, but no \\boxed{} or #### in the solution",
    ):
        assert f"NOTE: {note}" in said


def test_zero_is_an_answer_and_control_tokens_are_text_all_the_way(tmp_path, capsys):
    zero = {"problem": "Take 3 from 3.<|im_end|>", "solution": "Nothing is left: \\boxed{0}.", "answer": 0}
    _, rows, card = prepare(tmp_path, [zero, *sums(12)])
    assert rows[0]["reward_model"]["ground_truth"] == rows[0]["extra_info"]["answer"] == "0"
    assert stage(card, "verify")["noted"] == {"verified": 13}
    assert rows[0]["extra_info"]["problem"] == zero["problem"]
    assert card["control_tokens"] == {"control tokens in the problem": {"<|im_end|>": 1}}
    said = "NOTE: Control tokens in the problem, by rows: <|im_end|> 1 (the first is row 0): training stops"
    assert said in capsys.readouterr().err


def test_a_snapshot_gives_its_training_split_and_the_card_says_which_files(tmp_path, capsys):
    snapshot = tmp_path / "snapshot"
    write_lines(snapshot / "data" / "train-00000-of-00001.jsonl", [row | {"note": "x"} for row in sums(12)])
    write_lines(snapshot / "data" / "test-00000-of-00001.jsonl", sums(30)[20:])
    out = tmp_path / "out"
    assert main(["--source", str(snapshot), "--out", str(out), "--workers", "1", *HALF]) == 0
    card = json.loads((out / "data_card.json").read_text())
    assert stage(card, "read")["in"] == 12
    assert card["source"] == {
        "configuration": "default",
        "split": "train",
        "files": ["data/train-00000-of-00001.jsonl"],
        "left_out": ["data/test-00000-of-00001.jsonl"],
        "columns": ["problem", "solution", "answer"],
        "columns_left_out": ["note"],
    }
    line = (
        "Read: data/train-00000-of-00001.jsonl (configuration default, split train); left out: "
        "data/test-00000-of-00001.jsonl. Columns: problem, solution, answer; not read: note."
    )
    assert line in capsys.readouterr().out
    assert line in (out / "data_card.md").read_text()
    assert main(["--source", str(snapshot), "--out", str(out), "--split", "dev"]) == 1
    assert "found test, train: choose one with --split" in capsys.readouterr().err


def test_rows_without_solutions_are_refused_with_the_flags_or_prepared_for_another_template(tmp_path, capsys):
    rows = [{"problem": row["problem"], "answer": row["answer"], "domain": ["Math"]} for row in sums(12)]
    source = write_lines(tmp_path / "source.jsonl", rows)
    assert main(["--source", source, "--out", str(tmp_path / "none")]) == 1
    said = capsys.readouterr().err
    assert "columns found: problem, answer, domain. Name the column that holds one with --columns" in said
    assert "--template answer_only" in said
    _, rows, card = prepare(tmp_path, rows, "--template", "answer_only")
    assert stage(card, "verify")["noted"] == {"no_solution": 12}
    assert [row["extra_info"]["solution"] for row in rows] == [""] * 12


def test_columns_are_named_on_the_command_line(tmp_path, capsys):
    rows = [{"q": row["problem"], "a": {"text": row["solution"]}} for row in sums(12)]
    _, rows, card = prepare(tmp_path, rows, "--columns", "problem=q,solution=a.text")
    assert (len(rows), card["schema"]) == (12, "named columns")
    assert card["options"]["columns"] == {"problem": "q", "solution": "a.text"}
    for wrong in ("problem", "question=q", "problem=", "problem=q,,"):
        with pytest.raises(SystemExit):
            main(["--source", "x.jsonl", "--out", str(tmp_path), "--columns", wrong])
        assert "is not PART=COLUMN,... with parts of problem, solution, answer" in capsys.readouterr().err


def test_solutions_without_a_marked_answer_can_be_kept_beside_a_ground_truth(tmp_path):
    rows = [*sums(12), sums(1)[0] | {"problem": "Is it 7?", "solution": "It is seven."}]
    _, kept, card = prepare(tmp_path, rows, "--no-answer", "keep")
    assert stage(card, "verify")["noted"] == {"no_answer": 1, "verified": 12}
    assert len(kept) == 13


def test_data_of_which_no_row_is_left_is_an_error_with_the_remedy(tmp_path, capsys):
    source = write_lines(tmp_path / "source.jsonl", [row | {"solution": "none"} for row in sums(5)])
    assert main(["--source", source, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "no row is left for" in said
    assert "--no-answer keep keeps them, unverified." in said
