"""The rows of one file: parquet, JSON lines, a JSON array, CSV, Arrow; compressed or not.

Each row keeps its own types. pandas would turn whole numbers beside a null into 5.0, and `datasets` would
convert every row to the types of the first. So the `json` module reads JSON, and pandas reads CSV as text.
"""

from __future__ import annotations

import json
import lzma
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.layout import file_suffix

RawRow = Mapping[str, Any]
ROWS_PER_READ = 256
"""Rows of a file in memory at a time; a row of reasoning data has about 34 kB."""
BROKEN = (
    *(pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError),
    *(OSError, EOFError, zlib.error, lzma.LZMAError),
)
"""What libraries raise for a file that they cannot read."""
LFS_POINTER = b"version https://git-lfs"


def file_rows(file: Path, columns: Collection[str] | None = None) -> Iterator[RawRow]:
    """Stream the rows of a file, in bounded memory (a JSON array is read whole).

    Raises:
        ValueError: for a file or a row that cannot be read, naming it.
    """
    with named(file):
        yield from READERS[file_suffix(file)](file, columns)


def selected_columns(row: RawRow, columns: Collection[str] | None) -> RawRow:
    """Return the row with the requested columns only."""
    return row if columns is None else {name: row[name] for name in row if name in columns}


@contextmanager
def named(file: Path) -> Iterator[None]:
    """Turn a library's error about a broken file into an error that names the file."""
    try:
        yield
    except BROKEN as error:
        raise ValueError(f"{file} cannot be read: {error}{_remedy(file)}") from error


def _remedy(file: Path) -> str:
    with file.open("rb") as opened:
        is_pointer = opened.read(len(LFS_POINTER)) == LFS_POINTER
    return ". It is a Git LFS pointer: fetch the data with git lfs pull." if is_pointer else ""


def _parquet_rows(file: Path, columns: Collection[str] | None) -> Iterator[RawRow]:
    with pq.ParquetFile(file) as parquet:
        names = [name for name in parquet.schema_arrow.names if columns is None or name in columns]
        first = 0
        for batch in parquet.iter_batches(batch_size=ROWS_PER_READ, columns=names):
            yield from _batch_rows(batch, file, first)
            first += len(batch)


def _arrow_rows(file: Path, columns: Collection[str] | None) -> Iterator[RawRow]:
    import datasets

    data = datasets.Dataset.from_file(str(file))
    data = data.select_columns([name for name in data.column_names if columns is None or name in columns])
    for first in range(0, len(data), ROWS_PER_READ):
        yield from data.with_format("arrow")[first : first + ROWS_PER_READ].to_pylist()


def _batch_rows(batch: pa.RecordBatch, file: Path, first: int) -> list[RawRow]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        for place in range(len(batch)):
            _one_row(batch.slice(place, 1), f"{file}, row {first + place}")
        raise


def _one_row(batch: pa.RecordBatch, where: str) -> None:
    try:
        batch.to_pylist()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} holds text that is not UTF-8 ({error}): mend or remove it.") from error


def _json_rows(file: Path, columns: Collection[str] | None) -> Iterator[RawRow]:
    """Yield the rows of JSON lines, of one array, or of one object that holds an array."""
    for where, row in _array(file) if _is_one_value(file) else _lines(file):
        if not isinstance(row, dict):
            raise ValueError(f"{where} is not a JSON object: write one row per line, or an array of objects.")
        yield selected_columns(row, columns)


def _is_one_value(file: Path) -> bool:
    """Whether a file holds all rows in one JSON array or object."""
    with _opened(file) as lines:
        filled = (line.removeprefix(b"\xef\xbb\xbf").strip() for line in lines)
        head = next((line for line in filled if line), b"")
        if head.startswith(b"[") or file_suffix(file) != ".json":
            return head.startswith(b"[")
        return not (head.endswith(b"}") and any(filled))


def _lines(file: Path) -> Iterator[tuple[str, Any]]:
    for where, line in _numbered(file):
        if line.strip():
            yield where, _value(line, where, file)


def _numbered(file: Path) -> Iterator[tuple[str, bytes]]:
    with _opened(file) as lines:
        for number, line in enumerate(lines, start=1):
            yield f"{file}, line {number}", line


def _array(file: Path) -> Iterator[tuple[str, Any]]:
    with _opened(file) as opened:
        value = _value(opened.read(), str(file), file)
    lists = (
        [found for found in value.values() if _holds_objects(found)] if isinstance(value, dict) else [value]
    )
    if len(lists) != 1:
        raise ValueError(
            f"{file} holds one object with the keys {', '.join(value)}, not one array of rows: write the "
            "rows as an array or as JSON lines."
        )
    for place, row in enumerate(lists[0]):
        yield f"{file}, row {place}", row


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _value(written: bytes, where: str, file: Path) -> Any:
    try:
        return json.loads(_decoded(written, where))
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}{_remedy(file) or '.'}") from error


def _decoded(written: bytes, where: str) -> str:
    try:
        return written.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8 ({error}): save the file as UTF-8.") from error


def _csv_rows(file: Path, columns: Collection[str] | None) -> Iterator[RawRow]:
    # Every cell is read as text, so that 007 keeps its zeros and an empty cell stays empty.
    separator = "\t" if file_suffix(file) == ".tsv" else ","
    reading: dict[str, Any] = {"sep": separator, "dtype": str, "keep_default_na": False}
    try:
        with pd.read_csv(file, encoding="utf-8-sig", chunksize=ROWS_PER_READ, **reading) as tables:
            for table in tables:
                if not isinstance(table.index, pd.RangeIndex):
                    raise ValueError(f"{file} has a row with more cells than its header has names.")
                table.columns = table.columns.str.strip()
                if len(table.columns) == 1 and (other := re.search(r"[;|\t]", table.columns[0])):
                    raise ValueError(f"{file} separates its cells by {other[0]!r}: write it with commas.")
                for cells in table.itertuples(index=False, name=None):
                    yield selected_columns(dict(zip(table.columns, cells, strict=True)), columns)
    except UnicodeDecodeError:
        for where, line in _numbered(file):
            _decoded(line, where)
        raise


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    with fsspec.open(str(file), "rb", compression="infer") as opened:
        yield opened


READERS: dict[str, Callable[[Path, Collection[str] | None], Iterator[RawRow]]] = {
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".json": _json_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
}
