"""The console commands `eval` and `compare`; they import heavy packages only when they run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verl_egrsd.evaluation.published import PUBLISHED_MODELS, beside_markdown, beside_published
from verl_egrsd.evaluation.settings import DEFAULT_PRESET, DTYPES, PRESETS, EngineOptions, Settings
from verl_egrsd.output.files import write_completed
from verl_egrsd.output.lock import only_writer
from verl_egrsd.output.named import require_existing, require_model_name
from verl_egrsd.teacher.templates import with_template_text

if TYPE_CHECKING:
    from verl_egrsd.evaluation.summary import Summary

ANOTHER_OUT = "choose another --out"
Counts = dict[str | None, int]
"""Samples per problem by benchmark; None stands for all others."""


def eval_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `verl-egrsd eval`; the preset and vLLM give the defaults."""
    model_arguments(parser)
    parser.add_argument(
        "--benchmarks",
        nargs="+",
        required=True,
        metavar="PATH",
        help="parquet files, or folders with such files",
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="some of the benchmarks (all)")
    parser.add_argument("--limit", type=int, metavar="N", help="first N problems of each benchmark (all)")
    parser.add_argument("--name", help="name in tables (default: that of the folder)")
    parser.add_argument(
        "--template",
        metavar="NAME|FILE",
        help="answer as the teacher who reads this template (default: as the student)",
    )
    sampling = parser.add_argument_group("sampling; defaults are those of the preset")
    sampling.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET, help="(%(default)s)")
    sampling.add_argument(
        "--samples", nargs="+", type=_count, metavar="K", help="samples per problem; NAME=K for one benchmark"
    )
    sampling_arguments(sampling)
    engine_arguments(parser)


def model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model and the folder."""
    parser.add_argument(
        "model", help="model folder or hub id, LoRA adapter folder, or global_step_N of a run"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder to write, or to resume")
    parser.add_argument(
        "--base", help="base model of an adapter or checkpoint (default: the one recorded in it)"
    )


def sampling_arguments(sampling: Any) -> None:
    """Add the arguments that set a value of :class:`Settings`, except for the number of samples."""
    sampling.add_argument("--seed", type=int, help="all seeds are derived from it")
    sampling.add_argument(
        "--thinking", action=argparse.BooleanOptionalAction, help="flag of the chat template"
    )
    sampling.add_argument("--temperature", type=float)
    sampling.add_argument("--top-p", type=float)
    sampling.add_argument("--top-k", type=int, help="0 for all tokens")
    sampling.add_argument("--max-new-tokens", type=int, metavar="N")
    sampling.add_argument("--dtype", choices=DTYPES)


def engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that set a value of :class:`EngineOptions`."""
    engine = parser.add_argument_group("vLLM; defaults are all GPUs, and vLLM's own")
    engine.add_argument(
        "--replicas", type=_replicas, metavar="N", help="engines that share the samples (auto: one per GPU)"
    )
    engine.add_argument("--tensor-parallel-size", type=int, metavar="GPUS", help="GPUs of each engine (1)")
    engine.add_argument("--gpu-memory-utilization", type=float, metavar="SHARE")
    engine.add_argument(
        "--max-num-seqs", type=int, metavar="N", help="most answers that are generated at once"
    )
    engine.add_argument(
        "--enforce-eager", action="store_true", default=None, help="no compilation and no CUDA graphs"
    )
    engine.add_argument(
        "--no-progress",
        type=float,
        metavar="SECONDS",
        help="of several replicas, one that hangs for so long counts as one that died (3600)",
    )


def run_eval(arguments: argparse.Namespace, _: list[str]) -> None:
    """Evaluate, and print the summary."""
    eval_settings(arguments, ())  # refuses values before the imports, which take seconds
    begin(arguments, arguments.benchmarks, finished="summary.json")
    with only_writer(arguments.out, ANOTHER_OUT):
        from verl_egrsd.evaluation.summary import terminal_table

        print(terminal_table(_evaluated(arguments)))
    print(
        f"\nsummary: {arguments.out / 'summary.md'} (numbers: summary.json)\n"
        f"answers: {arguments.out / 'samples.jsonl'}\n"
        f"next: verl-egrsd compare {arguments.out} ANOTHER_EVALUATION, or verl-egrsd inspect {arguments.out} "
        "--out PAGES"
    )


def begin(arguments: argparse.Namespace, data: Collection[str | Path], finished: str) -> None:
    """Refuse what is missing, and say that the command has begun: the imports take seconds.

    Args:
        arguments: those of :func:`model_arguments` and :func:`engine_arguments`.
        data: the parquet files, or folders of them, that the command reads.
        finished: name of the last file that the command writes; where it is, no replicas may be needed.

    Raises:
        FileNotFoundError: for a path that is missing.
        ValueError: for a name that no model has, and when nothing answers at `RAY_ADDRESS`.
    """
    for model in (arguments.model, arguments.base):
        require_model_name(model)
    for path in data:
        require_existing(path, "a parquet file, or a folder with such files (docs/data.md)")
    print(f"verl_egrsd: {arguments.model} answers {' '.join(map(str, data))}", file=sys.stderr, flush=True)
    from verl_egrsd.network import ask_for_token
    from verl_egrsd.watch.cluster import require_cluster_of

    ask_for_token()
    options = EngineOptions(**given_fields(arguments, EngineOptions))
    if os.environ.get("RAY_ADDRESS") and options.needs_ray() and not (arguments.out / finished).exists():
        require_cluster_of(())


def _evaluated(arguments: argparse.Namespace) -> Summary:
    from verl_egrsd.evaluation.problems import benchmark_files, read_benchmarks
    from verl_egrsd.evaluation.run import evaluate

    files = benchmark_files(arguments.benchmarks, arguments.only)
    settings = eval_settings(arguments, files)
    return evaluate(
        arguments.model,
        read_benchmarks(
            arguments.benchmarks, arguments.only, arguments.limit, template=settings.teacher_template
        ),
        arguments.out,
        settings=settings,
        base=arguments.base,
        name=arguments.name,
        files=files,
        options=EngineOptions(**given_fields(arguments, EngineOptions)),
    )


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `verl-egrsd compare`."""
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="two or more, or one with --published"
    )
    parser.add_argument(
        "--published", choices=PUBLISHED_MODELS, help="show the paper's results of a model beside them"
    )
    parser.add_argument("--common", action="store_true", help="compare the problems that both have")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparisons to this file")


def run_compare(arguments: argparse.Namespace, _: list[str]) -> None:
    """Compare the first evaluation with each of the others, and print tables and sentences."""
    from verl_egrsd.evaluation.compare import compare, comparison_markdown
    from verl_egrsd.evaluation.summary import summarise

    first, *others = arguments.folders
    if not others and not arguments.published:
        raise ValueError(f"{first} cannot be compared with itself: name two folders or more, or --published.")
    found = [compare(first, other, common=arguments.common) for other in others]
    tables = [comparison_markdown(comparison) for comparison in found]
    if arguments.published:
        summaries = [summarise(folder) for folder in arguments.folders]
        if len({summary["name"] for summary in summaries}) < len(summaries):
            summaries = [
                summary | {"name": str(folder)}
                for summary, folder in zip(summaries, arguments.folders, strict=True)
            ]
        beside = beside_published(summaries, arguments.published)
        tables.append(beside_markdown(beside))
        found.append({"published": beside})
    print("\n\n".join(tables))
    if arguments.json:
        write_completed(arguments.json, json.dumps(found, indent=1) + "\n")


def eval_settings(arguments: argparse.Namespace, benchmarks: Collection[str]) -> Settings:
    """Return the preset, with the values that the command line sets."""
    preset = PRESETS[arguments.preset]
    given = given_fields(arguments, Settings)
    counts: Counts = dict(given.pop("samples", ()))
    # A preset may name benchmarks that are not evaluated; `evaluate` refuses those that the caller names.
    named = {name: k for name, k in preset.samples_of.items() if name in benchmarks and None not in counts}
    named |= {name: k for name, k in counts.items() if name is not None}
    given["samples"], given["samples_of"] = counts.get(None, preset.samples), named
    if "template" in given:
        shown = with_template_text({"template": given["template"]})
        given |= {key: shown.get(key) for key in ("template", "template_text")}
    return replace(preset, **given)


def given_fields(arguments: argparse.Namespace, settings: type) -> dict[str, Any]:
    """Return the fields of a dataclass that the command line sets."""
    names = {field.name for field in fields(settings)}
    return {name: value for name, value in vars(arguments).items() if name in names and value is not None}


def _replicas(text: str) -> int | None:
    """Return a number of replicas, None for `auto`."""
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto")
    return None if text == "auto" else int(text)


def _count(text: str) -> tuple[str | None, int]:
    """Split K or NAME=K."""
    name, found, count = text.rpartition("=")
    if not count.isdecimal() or (found and not name):
        raise argparse.ArgumentTypeError(f"{text!r} is neither K nor NAME=K")
    return name or None, int(count)
