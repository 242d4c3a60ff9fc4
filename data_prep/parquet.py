"""Writes parquet files that are complete or absent; equal rows give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.rows import ROW_SCHEMA
from verl_egrsd.output.files import completed

ROWS_PER_GROUP = 1000
COMPRESSION = "zstd"


class RowWriter:
    """Takes rows one at a time and writes them in row groups; made by :func:`parquet_writer`.

    Attributes:
        rows: number of rows taken.
    """

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, rows_per_group: int) -> None:
        self._writer, self._schema, self._rows_per_group = writer, schema, rows_per_group
        self._group: list[Mapping[str, Any]] = []
        self.rows = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row.

        Raises:
            ValueError: for a row with other columns than the schema; pyarrow would drop columns or add nulls.
        """
        if row.keys() != set(self._schema.names):
            raise ValueError(
                f"row {self.rows} has the columns {sorted(row)}; the file has {sorted(self._schema.names)}."
            )
        self._group.append(row)
        self.rows += 1
        if len(self._group) == self._rows_per_group:
            self.flush()

    def flush(self) -> None:
        """Write the waiting rows as one row group."""
        if self._group:
            self._writer.write_table(pa.Table.from_pylist(self._group, schema=self._schema))
            self._group = []


@contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema = ROW_SCHEMA, rows_per_group: int = ROWS_PER_GROUP
) -> Iterator[RowWriter]:
    """Write a parquet file row by row; one row group at a time is in memory.

    The file appears under its name when the block ends without an error. The same rows and the same version
    of pyarrow give the same bytes.

    Args:
        path: the file; its folder is created.
        schema: columns of the file.
        rows_per_group: rows of every row group but the last.
    """
    with (
        completed(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression=COMPRESSION) as file,
    ):
        writer = RowWriter(file, schema, rows_per_group)
        yield writer
        writer.flush()
