"""The pass rates of the training rows, where the method reads them (`pass_rate.source=data`)."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf

from verl_egrsd.methods.columns import PASS_RATE
from verl_egrsd.preflight.reading import file_list
from verl_egrsd.rows import row_name, share_of

_READ = (f"{PASS_RATE.column}.{PASS_RATE.key}", f"{PASS_RATE.column}.index", "data_source")
"""Columns that are read: the pass rate, and what names the row."""


def check_pass_rates(config: DictConfig) -> None:
    """Look at every row of the parquet files on this disk; the data set checks what verl fetches or converts.

    Raises:
        ValueError: for a pass rate that is missing or no number from 0 to 1, with row, file and remedy.
    """
    if OmegaConf.select(config, "algorithm.egrsd.pass_rate.source") != "data":
        return
    for path in file_list(config.data.train_files):
        if not path.endswith(".parquet") or not Path(path).is_file():
            continue
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(columns=list(_READ)) for row in batch.to_pylist())
            for position, row in enumerate(rows):
                share_of(row, PASS_RATE, f"{row_name(row, position)} in {path}")
