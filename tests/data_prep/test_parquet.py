"""Parquet files are whole or absent, equal for equal rows, and readable by pandas and datasets."""

import hashlib

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.parquet import parquet_writer
from data_prep.rows import ROW_SCHEMA, to_row
from verl_egrsd.output.files import file_digest


def row(index: int, **changes) -> dict:
    given = {
        "data_source": "math500",
        "problem": f"What is {index}+3?",
        "solution": "Count.",
        "answer": str(index + 3),
        "index": index,
        "split": "train",
        "source": "here",
    }
    return to_row(**(given | changes))


def write(path, rows, **options) -> None:
    with parquet_writer(path, **options) as writer:
        for each in rows:
            writer.write(each)


def test_rows_come_back_as_they_were_in_row_groups_of_a_fixed_size(tmp_path):
    lengths = {"student": 12, "teacher": 34, "unit": "tokens"}
    rows = [row(0, lengths=lengths), *(row(index) for index in range(1, 25))]
    path = tmp_path / "new" / "rows.parquet"
    write(path, rows, rows_per_group=10)
    assert pq.read_table(path).to_pylist() == rows
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [10, 10, 5]


def test_pandas_and_datasets_read_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    write(path, [row(index) for index in range(3)])
    frame = pd.read_parquet(path)
    assert list(frame.columns) == ROW_SCHEMA.names
    assert frame["prompt"][2][0]["content"].startswith("What is 2+3?")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded[1]["reward_model"] == {"style": "rule", "ground_truth": "4"}


def test_the_same_rows_give_the_same_bytes_and_others_do_not(tmp_path):
    for name, rows in {"a": [row(1), row(2)], "b": [row(1), row(2)], "c": [row(1), row(3)]}.items():
        write(tmp_path / name, rows)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()
    assert file_digest(tmp_path / "a") == hashlib.sha256((tmp_path / "b").read_bytes()).hexdigest()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_what_was_there_before(tmp_path, error):
    path = tmp_path / "rows.parquet"
    write(path, [row(1)])
    before = path.read_bytes()

    def interrupted():
        yield row(2)
        raise error

    with pytest.raises(error):
        write(path, interrupted(), rows_per_group=1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_partial_file_of_a_killed_run_is_overwritten(tmp_path):
    (tmp_path / "rows.parquet.partial").write_text("half a file")
    write(tmp_path / "rows.parquet", [row(1)])
    assert len(pd.read_parquet(tmp_path / "rows.parquet")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_row_with_other_columns_is_refused(tmp_path):
    schema = pa.schema([("problem", pa.string()), ("answer", pa.string())])
    for wrong in ({"problem": "x"}, {"problem": "x", "answer": "1", "level": 5}):
        with pytest.raises(ValueError, match=r"row 0 has the columns .*; the file has"):
            write(tmp_path / "rows.parquet", [wrong], schema=schema)
    assert not list(tmp_path.iterdir())


def test_a_file_without_rows_still_has_its_columns(tmp_path):
    write(tmp_path / "rows.parquet", [])
    assert pq.read_schema(tmp_path / "rows.parquet").equals(ROW_SCHEMA)
