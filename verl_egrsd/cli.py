"""The console command `verl-egrsd`: one table of subcommands, each imported only when it runs.

Exit codes: 0 done, 1 refused or failed with a message for people, 2 a wrong call, 130 ended by Ctrl-C, 143 by
SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verl_egrsd import __version__
from verl_egrsd.doctor.command import check_arguments, run_check
from verl_egrsd.evaluation.command import compare_arguments, eval_arguments, run_compare, run_eval
from verl_egrsd.evaluation.published import PUBLISHED_MODELS
from verl_egrsd.microscope.arguments import add_arguments as inspect_arguments
from verl_egrsd.output.named import require_existing, require_model_name
from verl_egrsd.processes import ended_by_signals
from verl_egrsd.sampling.command import run_sample, sample_arguments


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        help: one line for `verl-egrsd --help`.
        arguments: adds the arguments to the subcommand's parser.
        run: does the work, given the parsed arguments and those that the parser does not know.
        passes_on: whether unknown arguments are handed to `run`; otherwise they are a wrong call.
        helps: whether `--help` is ours; Hydra has its own.
    """

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, list[str]], None]
    passes_on: bool = False
    helps: bool = True


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "verl-egrsd train preset=egrsd model=qwen3_4b hardware=gpu8 [key=value ...]"


def _train(arguments: argparse.Namespace, overrides: list[str]) -> None:
    from verl_egrsd.main import main as train

    # Hydra reads the command line itself.
    sys.argv = ["verl-egrsd train", *overrides]
    train()


def _sft_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "verl-egrsd sft preset=sft base=qwen3_4b hardware=gpu8 [key=value ...]"


def _sft(arguments: argparse.Namespace, overrides: list[str]) -> None:
    from verl_egrsd.sft.main import main as sft

    sys.argv = ["verl-egrsd sft", *overrides]
    sft()


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="folder global_step_N of a run")
    parser.add_argument("--out", required=True, help="folder to write; it must not exist")
    whose = ("student", "teacher")
    parser.add_argument("--weights", choices=whose, default="student", help="the teacher's where it moves")
    parser.add_argument("--form", choices=("merged", "adapter"), default="merged", help="(%(default)s)")
    parser.add_argument("--base", help="folder or hub id of the base model (the one noted in the checkpoint)")
    dtypes = ("bfloat16", "float32")
    parser.add_argument("--dtype", choices=dtypes, default="bfloat16", help="of merged weights (%(default)s)")
    told = "folders of finished evaluations, for the model card (none)"
    parser.add_argument("--evaluation", nargs="+", default=[], metavar="FOLDER", help=told)
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to the hub (no upload)")
    parser.add_argument("--private", action="store_true", help="make the hub's repository private")


def _export(arguments: argparse.Namespace, _: list[str]) -> None:
    require_existing(arguments.checkpoint, "a folder global_step_N of a run")
    require_model_name(arguments.base)
    from verl_egrsd.checkpoints.export import export

    if arguments.push:
        from verl_egrsd.checkpoints.push import check_push, push

        check_push(arguments.push)
    options = {name: getattr(arguments, name) for name in ("weights", "form", "dtype")}
    options |= {"base_model": arguments.base, "evaluations": arguments.evaluation}
    out = export(arguments.checkpoint, arguments.out, **options)
    print(out)
    if arguments.push:
        print(push(out, arguments.push, private=arguments.private))


def _frontier_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("summaries", nargs="+", help="summary.json of an evaluation, or its folder")
    parser.add_argument("--out", required=True, help="folder for frontier.png, frontier.svg, frontier.html")
    parser.add_argument("--benchmark", help="draw this benchmark (the average over all of them)")
    grey = "draw the paper's averages of a model in grey"
    parser.add_argument("--published", choices=PUBLISHED_MODELS, help=grey)
    parser.add_argument("--title", help="heading (names the benchmark)")


def _frontier(arguments: argparse.Namespace, _: list[str]) -> None:
    from verl_egrsd.frontier import frontier

    options = {name: getattr(arguments, name) for name in ("benchmark", "published", "title")}
    print(frontier(arguments.summaries, arguments.out, **options))


def _inspect(arguments: argparse.Namespace, _: list[str]) -> None:
    for model in (arguments.source, arguments.beside, arguments.base):
        require_model_name(model)
    require_existing(arguments.data, "a parquet file with the rows")
    from verl_egrsd.microscope.command import inspect

    print(inspect(arguments))


def _methods_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="show the keys of this method (all methods, a line each)")


def _methods(arguments: argparse.Namespace, _: list[str]) -> None:
    from verl_egrsd.methods.listing import listing

    print(listing(arguments.name))


COMMANDS: dict[str, Command] = {
    "check": Command(
        "say in seconds what a training run would fail on", check_arguments, run_check, passes_on=True
    ),
    "train": Command(
        "train; the arguments are Hydra overrides", _train_arguments, _train, passes_on=True, helps=False
    ),
    "sft": Command(
        "fine-tune on solutions; the arguments are Hydra overrides",
        *(_sft_arguments, _sft),
        passes_on=True,
        helps=False,
    ),
    "methods": Command("list the methods, or show the keys of one", _methods_arguments, _methods),
    "export": Command("write a checkpoint as a model or as a peft adapter", _export_arguments, _export),
    "eval": Command("measure accuracy and length on benchmarks", eval_arguments, run_eval),
    "sample": Command("write a model's own samples as training data", sample_arguments, run_sample),
    "compare": Command("compare evaluations, problem by problem", compare_arguments, run_compare),
    "frontier": Command("draw accuracy against length of evaluations", _frontier_arguments, _frontier),
    "inspect": Command("show which tokens get the credit, and why", inspect_arguments, _inspect),
}
"""Subcommands by name. Neither this table nor the parsers import torch or verl."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code.

    Args:
        argv: the arguments; None takes those of the process.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    command = COMMANDS[arguments.command]
    if rest and not command.passes_on:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        with ended_by_signals(f"verl-egrsd {arguments.command}"):
            command.run(arguments, rest)
    except (ValueError, OSError) as error:
        # The user's to mend: the message says what, and a traceback would bury it.
        print(f"verl-egrsd {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("verl-egrsd", description="Entropy-gated self-distillation for verl.")
    parser.add_argument("--version", action="version", version=f"verl_egrsd {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(name, help=command.help, add_help=command.helps)
        command.arguments(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
