"""Raw rows, one at a time, from the hub, a file, or a folder of shards."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data_prep.files import RawRow, file_rows, named, selected_columns
from data_prep.layout import ENDINGS, SplitFiles, choose_files, file_suffix


def read_rows(
    source: str, *, config: str | None = None, split: str = "train", columns: Collection[str] | None = None
) -> Iterator[RawRow]:
    """Stream the rows of a source in a fixed order, in bounded memory (a JSON array is read whole).

    Args:
        source: a file that ends in one of :data:`data_prep.layout.ENDINGS`, compressed or not; a folder of
            such files, or a copy of a data set of the hub; or a hub id.
        config: configuration of a data set, see :func:`data_prep.layout.choose_files`.
        split: split of a data set; a single file is read whatever its name.
        columns: the columns to read; a column that the source lacks is ignored.

    Raises:
        ValueError: for a path that does not exist, a folder in which no files can be chosen, or a hub id that
            cannot be loaded; for a row that cannot be read, naming file and row.
    """
    choice = locate(source, config, split)
    if choice is None:
        yield from hub_rows(source, config, split, columns)
        return
    for file in choice.files:
        yield from file_rows(file, columns)


def count_rows(source: str, config: str | None = None, split: str = "train") -> int | None:
    """Return the number of rows if the metadata of the source has it (local parquet), else None.

    Raises:
        ValueError: as :func:`read_rows`.
    """
    choice = locate(source, config, split)
    if choice is None or any(file_suffix(file) != ".parquet" for file in choice.files):
        return None
    total = 0
    for file in choice.files:
        with named(file):
            total += pq.read_metadata(file).num_rows
    return total


def locate(source: str, config: str | None = None, split: str = "train") -> SplitFiles | None:
    """Return the files of a local source, None for a hub id.

    Raises:
        ValueError: as :func:`read_rows`, before any row is read.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return choose_files(path, config, split)
    known = f"a file that ends in {', '.join(ENDINGS)}"
    if path.is_file() and file_suffix(path) in ENDINGS:
        return SplitFiles((path,))
    if path.exists():
        raise ValueError(f"{source} ends in {path.suffix!r}: give {known}, or a folder.")
    if file_suffix(path) in ENDINGS or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise ValueError(f"{source} does not exist: give {known}, a folder of such files or a hub id.")
    return None


def describe_source(source: str, config: str | None, split: str) -> dict[str, Any]:
    """Return which files of a source are read and which are not, for the data card; paths within a folder.

    Raises:
        ValueError: as :func:`read_rows`.
    """
    choice = locate(source, config, split)
    if choice is None:
        return {"hub": source, "configuration": config or "default", "split": split}
    path = Path(source).expanduser()
    root = path if path.is_dir() else path.parent
    return {
        "configuration": choice.config,
        "split": choice.split or "none named",
        "files": [str(file.relative_to(root)) for file in choice.files],
        "left_out": [str(file.relative_to(root)) for file in choice.left_out],
    }


def hub_rows(
    source: str, config: str | None, split: str, columns: Collection[str] | None
) -> Iterator[RawRow]:
    """Stream the rows of a data set on the hub; arguments and errors as in :func:`read_rows`."""
    import datasets

    try:
        rows = datasets.load_dataset(source, name=config, split=split, streaming=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{source} is not a local file or folder, and cannot be loaded from the hub "
            f"(configuration {config or 'default'}, split {split}): {error} "
            "Choose others with --config and --split."
        ) from error
    if columns is not None and rows.column_names is not None:
        rows = rows.select_columns([name for name in rows.column_names if name in columns])
    for row in rows:
        yield selected_columns(row, columns)
