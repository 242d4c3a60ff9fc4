"""A file gives the same rows whatever its form; a broken one is an error that names file and row."""

import bz2
import gzip
import json
import lzma

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.files import file_rows
from data_prep.sources import read_rows

ROWS = [
    {"problem": '1 + 1?\nSay, "two".', "answer": "2"},
    {"problem": "Find 007, café ½\u2028", "answer": "007"},
    {"problem": "x", "answer": ""},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
ARRAY = json.dumps(ROWS, ensure_ascii=False, indent=1).encode()
CSV = pd.DataFrame(ROWS).to_csv(index=False).encode()
BOM = b"\xef\xbb\xbf"
FILES = {
    "rows.jsonl": LINES,
    "rows.ndjson": LINES,
    "ROWS.JSONL": LINES,
    "lines.json": LINES,
    "bom.jsonl": BOM + LINES,
    "windows.jsonl": LINES.replace(b"\n", b"\r\n"),
    "rows.json": ARRAY,
    "array.jsonl": json.dumps(ROWS).encode(),
    "bom.json": BOM + ARRAY,
    "nested.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "pretty.json": json.dumps({"version": 1, "data": ROWS}, indent=2).encode(),
    "rows.csv": CSV,
    "bom.csv": BOM + CSV,
    "rows.tsv": pd.DataFrame(ROWS).to_csv(index=False, sep="\t").encode(),
    "rows.jsonl.gz": gzip.compress(LINES),
    "rows.json.gz": gzip.compress(ARRAY),
    "rows.csv.gz": gzip.compress(CSV),
    "rows.jsonl.bz2": bz2.compress(LINES),
    "rows.jsonl.xz": lzma.compress(LINES),
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_of_a_file_gives_the_same_rows(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert list(read_rows(str(path))) == ROWS
    assert [dict(row) for row in read_rows(str(path), columns=("answer", "none"))] == [
        {"answer": row["answer"]} for row in ROWS
    ]


def test_a_saved_data_set_gives_its_rows_and_its_splits(tmp_path):
    data = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict(train=data, test=data.select([0])).save_to_disk(tmp_path / "saved")
    assert list(read_rows(str(tmp_path / "saved"))) == ROWS
    assert list(read_rows(str(tmp_path / "saved"), split="test")) == ROWS[:1]
    assert next(read_rows(str(tmp_path / "saved"), columns=("answer",))) == {"answer": "2"}


def test_whole_numbers_beside_a_null_stay_whole_numbers(tmp_path):
    rows = [{"answer": 5}, {"answer": None}, {"answer": "x"}, {}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert list(read_rows(str(tmp_path / "rows.json"))) == rows


def test_headers_of_a_table_lose_the_spaces_around_them(tmp_path):
    (tmp_path / "rows.csv").write_text("problem, answer\n1+1?,2\n")
    assert list(read_rows(str(tmp_path / "rows.csv"))) == [{"problem": "1+1?", "answer": "2"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            b'{"a": 1}\n{"a": "caf\xe9"}\n',
            r"a\.jsonl, line 2 is not UTF-8 .*: save the file as UTF-8",
        ),
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), r"a\.jsonl, line 1 is not UTF-8"),
        ("a.json", b'[{"a": "caf\xe9"}]', r"a\.json is not UTF-8"),
        ("a.csv", b"a,b\n1,2\ncaf\xe9,4\n", r"a\.csv, line 3 is not UTF-8"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", r"a\.csv cannot be read: .*Expected 2 fields in line 3, saw 3"),
        ("a.csv", b"a,b\n1,2,3\n", r"a\.csv has a row with more cells than its header"),
        ("a.csv", b"a;b\n1;2\n", r"a\.csv separates its cells by ';': write it with commas"),
        ("a.csv", b"", r"a\.csv cannot be read: .*No columns"),
        ("a.json", b'[{"a": 1}, 2]', r"a\.json, row 1 is not a JSON object"),
        ("a.json", b'[{"a": 1},', r"a\.json is not JSON: "),
        ("a.json", b'{"train": [{"a": 1}], "test": [{"a": 2}]}', r"one object with the keys train, test"),
        ("a.json", b'{"a": {"0": 1}}', r"one object with the keys a, not one array"),
        ("a.jsonl", b"[1, 2]\n[3, 4]\n", r"a\.jsonl is not JSON: Extra data"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-9], r"a\.jsonl\.gz cannot be read"),
        ("a.jsonl.gz", LINES, r"a\.jsonl\.gz cannot be read: .*gzip"),
        ("a.parquet", b"nonsense", r"a\.parquet cannot be read: "),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid 1\n", r"git lfs pull"),
        (
            "a.jsonl",
            b"version https://git-lfs.github.com/spec/v1\noid 1\n",
            r"line 1 is not JSON.*git lfs pull",
        ),
    ],
)
def test_a_broken_file_is_an_error_that_names_file_and_row(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(file_rows(path))


def test_text_in_parquet_that_is_not_utf8_is_named_by_row(tmp_path):
    broken = pa.array([b"fine"] * 300 + [b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"problem": broken}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"rows\.parquet, row 300 holds text that is not UTF-8"):
        list(file_rows(tmp_path / "rows.parquet"))
