"""The command `verl-egrsd check`: prints the findings; its exit code says whether the run would work."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.resources import files
from io import StringIO

from verl_egrsd.doctor.installed import FreshProcess
from verl_egrsd.doctor.lines import Severity
from verl_egrsd.network import ask_for_token


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; all others are overrides of the configuration."""
    parser.usage = (
        "verl-egrsd check [--pairs N] [--elsewhere] preset=egrsd model=qwen3_4b hardware=gpu8 [key=value ...]"
        "\n       verl-egrsd check [...] preset=sft base=qwen3_4b hardware=gpu8 [key=value ...]"
    )
    parser.add_argument("--pairs", type=int, default=1, help="rows whose prompts are shown (%(default)s)")
    parser.add_argument(
        "--elsewhere", action="store_true", help="do not ask for this machine's GPUs, disk and folders"
    )


def run_check(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Examine a run; exit with 1 if it would fail.

    Raises:
        ValueError: for a configuration that cannot be composed, and for a cluster that does not answer.
    """
    from verl_egrsd.watch.cluster import require_cluster_of

    ask_for_token()
    supervised = is_supervised(overrides)
    if not (arguments.elsewhere or supervised):
        require_cluster_of(overrides)
    from verl_egrsd.configs.composing import composed

    module, name = ("verl_egrsd.configs.sft", "sft") if supervised else ("verl_egrsd.configs", "egrsd")
    config = composed(module, name, overrides)
    fresh = FreshProcess(supervised=supervised)
    # Ray and verl print while they are imported and while they check.
    with redirect_stdout(StringIO()):
        from verl_egrsd.doctor.examination import TrainingExamination
        from verl_egrsd.doctor.supervised import SupervisedExamination

    kind = SupervisedExamination if supervised else TrainingExamination
    examination = kind(config, fresh, elsewhere=arguments.elsewhere, pairs=arguments.pairs)
    levels: Counter[Severity] = Counter()
    findings = examination.findings()
    while True:
        with redirect_stdout(StringIO()):
            finding = next(findings, None)
        if finding is None:
            break
        levels[finding.level] += 1
        print(finding.line(), flush=True)
    if examination.shown:
        print(f"\n{examination.shown}\n")
    if wrong := levels[Severity.WRONG]:
        print(f"{wrong} thing{'s' if wrong > 1 else ''} to mend: the run would fail.", flush=True)
        sys.exit(1)
    noted = levels[Severity.DOUBT]
    print("Nothing keeps the run from starting; read the notes." if noted else "Nothing is left to mend.")


def is_supervised(overrides: Sequence[str]) -> bool:
    """Return whether the words are those of `verl-egrsd sft`: they name a base, or one of its presets."""
    # The package of the configurations imports torch; its folder does not.
    presets = {file.name for file in (files("verl_egrsd") / "configs" / "sft" / "preset").iterdir()}
    words = (word.lstrip("+").partition("=") for word in overrides)
    return any(
        group == "base" or (group == "preset" and f"{name}.yaml" in presets) for group, _, name in words
    )
