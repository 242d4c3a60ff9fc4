"""Write the small benchmarks of a reproduction on the CPU, from the held-out problems of the rehearsal.

python -m recipes.reproduce.small --out DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recipes.reproduce.plan import REHEARSAL, SMALL_BENCHMARKS
from verl_egrsd.output.files import completed


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a parquet file for each benchmark."""
    parser = argparse.ArgumentParser(prog="python -m recipes.reproduce.small")
    parser.add_argument("--out", required=True, type=Path)
    out = parser.parse_args(arguments).out
    rows, begin = pd.read_parquet(REHEARSAL / "data" / "validation.parquet"), 0
    for name, count in SMALL_BENCHMARKS.items():
        with completed(out / f"{name}.parquet") as path:
            rows.iloc[begin : begin + count].to_parquet(path, index=False)
        begin += count


if __name__ == "__main__":
    main()
