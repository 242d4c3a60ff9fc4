"""Raw rows come from files and folders in a fixed order; what cannot be read is a plain error."""

import json
from pathlib import Path

import pandas as pd
import pytest

from data_prep.sources import count_rows, hub_rows, read_rows

ROWS = [{"problem": f"{number} + 1?", "solution": "", "level": number} for number in range(600)]


def write_json(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def write_parquet(path: Path, rows: list[dict]) -> str:
    pd.DataFrame(rows).to_parquet(path, row_group_size=100)
    return str(path)


@pytest.mark.parametrize("write", [write_json, write_parquet])
def test_a_file_gives_its_rows_in_order(tmp_path, write):
    source = write(tmp_path / f"rows.{'jsonl' if write is write_json else 'parquet'}", ROWS)
    assert list(read_rows(source)) == ROWS


@pytest.mark.parametrize("write", [write_json, write_parquet])
def test_only_the_columns_asked_for_are_read(tmp_path, write):
    source = write(tmp_path / f"rows.{'jsonl' if write is write_json else 'parquet'}", ROWS[:2])
    rows = list(read_rows(source, columns=("problem", "answer")))
    assert rows == [{"problem": "0 + 1?"}, {"problem": "1 + 1?"}]


def test_a_folder_gives_its_shards_by_name_and_hidden_ones_not_at_all(tmp_path):
    for name, rows in {"b": ROWS[300:], "a": ROWS[:300]}.items():
        write_parquet(tmp_path / f"{name}.parquet", rows)
    (tmp_path / ".cache").mkdir()
    write_json(tmp_path / ".cache" / "old.jsonl", ROWS)
    (tmp_path / "README.md").write_text("about")
    assert list(read_rows(str(tmp_path))) == ROWS
    assert count_rows(str(tmp_path)) == 600


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"problem": "one\u2028two"}\n\n{"problem": "three"}\n', encoding="utf-8")
    assert [row["problem"] for row in read_rows(str(path))] == ["one\u2028two", "three"]
    assert count_rows(str(path)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"a": 1}\n{"a": \n', r"line 2 is not JSON: "), ('{"a": 1}\n[1]\n', r"line 2 is not a JSON object")],
)
def test_a_broken_line_is_an_error_with_its_number(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_rows(str(path)))


def test_a_source_that_cannot_be_a_data_set_is_refused_before_the_hub_is_asked(tmp_path):
    (tmp_path / "rows.txt").write_text("a,b\n")
    (tmp_path / "mixed").mkdir()
    write_json(tmp_path / "mixed" / "a.jsonl", ROWS)
    write_parquet(tmp_path / "mixed" / "a.parquet", ROWS)
    (tmp_path / "empty").mkdir()
    for source, message in {
        "data/none.parquet": "does not exist",
        "one/two/three": "does not exist",
        f"{tmp_path}/none": "does not exist",
        f"{tmp_path}/rows.txt": "ends in '.txt'",
        f"{tmp_path}/mixed": "found .jsonl and .parquet",
        f"{tmp_path}/empty": "found none",
    }.items():
        with pytest.raises(ValueError, match=message):
            next(read_rows(source))


def test_a_hub_id_out_of_reach_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=r"nobody/nothing is not a local file .*configuration main, split test"
    ):
        next(read_rows("nobody/nothing", config="main", split="test"))


def test_a_data_set_of_the_hub_streams_one_split_of_one_configuration(tmp_path):
    # datasets loads a local copy of a repository with the code that reads the hub.
    (tmp_path / "main").mkdir()
    for split, rows in {"train": ROWS[:5], "test": ROWS[5:8]}.items():
        write_parquet(tmp_path / "main" / f"{split}-00000-of-00001.parquet", rows)
    card = "---\nconfigs:\n- config_name: main\n  data_files:\n"
    for split in ("train", "test"):
        card += f"  - split: {split}\n    path: main/{split}-*\n"
    (tmp_path / "README.md").write_text(f"{card}---\n")
    assert list(hub_rows(str(tmp_path), "main", "test", None)) == ROWS[5:8]
    assert list(hub_rows(str(tmp_path), "main", "test", ("level", "none"))) == [
        {"level": level} for level in (5, 6, 7)
    ]
    with pytest.raises(ValueError, match=r"configuration main, split validation"):
        next(hub_rows(str(tmp_path), "main", "validation", None))
