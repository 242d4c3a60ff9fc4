"""The console command `sample`; it imports heavy packages only when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from verl_egrsd.evaluation.command import (
    ANOTHER_OUT,
    begin,
    engine_arguments,
    given_fields,
    model_arguments,
    sampling_arguments,
)
from verl_egrsd.evaluation.settings import EngineOptions, Settings
from verl_egrsd.output.lock import only_writer
from verl_egrsd.sampling.settings import DEFAULT_PROTOCOL, PROTOCOLS, Filters, Protocol


def sample_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `verl-egrsd sample`; the preset and vLLM give the defaults."""
    model_arguments(parser)
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="parquet file with problems")
    parser.add_argument("--limit", type=int, metavar="N", help="first N problems (all)")
    parser.add_argument("--preset", choices=PROTOCOLS, default=DEFAULT_PROTOCOL, help="(%(default)s)")
    sampling = parser.add_argument_group("sampling; defaults are those of the preset")
    sampling.add_argument("--samples", type=int, metavar="K", help="samples per problem")
    sampling_arguments(sampling)
    filters = parser.add_argument_group("which samples become rows; defaults are those of the preset")
    switch = argparse.BooleanOptionalAction
    filters.add_argument("--pass-rate", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of the problem")
    filters.add_argument("--correct-only", action=switch, help="drop wrong samples")
    filters.add_argument("--drop-truncated", action=switch, help="drop samples that hit the limit")
    filters.add_argument("--drop-stubs", action=switch, help="drop samples of a single line")
    filters.add_argument("--drop-shortest", type=float, metavar="SHARE", help="drop the shortest of the rest")
    engine_arguments(parser)


def run_sample(arguments: argparse.Namespace, _: list[str]) -> None:
    """Draw the missing samples, write the rows, and print the counts."""
    begin(arguments, [arguments.data], finished="sampling.json")
    with only_writer(arguments.out, ANOTHER_OUT):
        _sample(arguments)


def _sample(arguments: argparse.Namespace) -> None:
    from verl_egrsd.evaluation.problems import read_benchmarks
    from verl_egrsd.evaluation.run import complete_samples
    from verl_egrsd.sampling.rows import write_sampled

    protocol = protocol_of(arguments)
    complete_samples(
        arguments.model,
        read_benchmarks([arguments.data], limit=arguments.limit),
        arguments.out,
        settings=protocol.settings,
        base=arguments.base,
        options=EngineOptions(**given_fields(arguments, EngineOptions)),
    )
    print(_counted(arguments.out, write_sampled(arguments.out, arguments.data, protocol.filters)))


def protocol_of(arguments: argparse.Namespace) -> Protocol:
    """Return the preset, with the values that the command line sets."""
    preset = PROTOCOLS[arguments.preset]
    filters = given_fields(arguments, Filters)
    if "pass_rate" in filters:
        filters["pass_rate"] = tuple(filters["pass_rate"])
    return Protocol(
        replace(preset.settings, **given_fields(arguments, Settings)), replace(preset.filters, **filters)
    )


def _counted(folder: Path, counts: Mapping[str, Any]) -> str:
    samples, problems = counts["samples"], counts["problems"]
    dropped = ", ".join(f"{name} {number:,}" for name, number in samples["dropped"].items() if number)
    return (
        f"{folder}/samples.parquet: {samples['kept']:,} of {samples['drawn']:,} samples"
        f"{f' (dropped: {dropped})' if dropped else ''}\n"
        f"{folder}/problems.parquet: {problems['kept']:,} of {problems['drawn']:,} problems, pass rate "
        f"{counts['pass_rate']:.3f}"
    )
