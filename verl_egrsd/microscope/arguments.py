"""Arguments of `verl-egrsd inspect`. Imports are light, because every command builds all parsers."""

from __future__ import annotations

import argparse
from pathlib import Path

from verl_egrsd.teacher.templates import TEMPLATES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; the defaults are those of training (configs/egrsd.yaml)."""
    switch = argparse.BooleanOptionalAction
    parser.add_argument(
        "source",
        help="rollouts dumped in training (file or folder), an evaluation, or a checkpoint, adapter or model",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; it must not exist")
    parser.add_argument("--beside", metavar="SOURCE", help="a second source, shown side by side")
    parser.add_argument(
        "--rows",
        type=int,
        default=8,
        help="rows that a model answers, or pages of dumped rollouts (%(default)s)",
    )
    model = parser.add_argument_group("with a model")
    model.add_argument("--data", type=Path, help="parquet file with the rows (docs/data.md)")
    model.add_argument(
        "--responses",
        help="column with responses, or the samples.jsonl of an evaluation (the model answers itself)",
    )
    model.add_argument(
        "--base",
        help="folder or hub id of the initial weights, which are the teacher's (default: as recorded)",
    )
    model.add_argument("--estimator", default="egrsd", help="a method of this package (%(default)s)")
    model.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of algorithm.egrsd, such as gamma=1.0"
    )
    model.add_argument(
        "--template",
        default="reference_solution",
        help=f"{', '.join(TEMPLATES)}, or the path of a text file (%(default)s)",
    )
    model.add_argument("--student-thinks", action=switch, default=False, help="(%(default)s)")
    model.add_argument("--teacher-thinks", action=switch, default=True, help="(%(default)s)")
    model.add_argument("--header", choices=("own", "student"), default="own", help="(%(default)s)")
    model.add_argument("--max-response-length", type=int, default=1024, help="tokens (%(default)s)")
    model.add_argument("--temperature", type=float, default=1.1, help="(%(default)s)")
    model.add_argument("--top-p", type=float, default=0.95, help="(%(default)s)")
    model.add_argument("--top-k", type=int, default=20, help="(%(default)s)")
    model.add_argument("--seed", type=int, default=0, help="of sampling (%(default)s)")
    model.add_argument("--device", default="cpu", help="torch device (%(default)s)")
