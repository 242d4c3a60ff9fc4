"""The command `verl-egrsd check`: prints the findings; its exit code says whether the run would work."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO

from verl_egrsd.doctor.installed import FreshProcess
from verl_egrsd.doctor.lines import Severity
from verl_egrsd.network import ask_for_token


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; all others are overrides of the configuration."""
    parser.usage = (
        "verl-egrsd check [--pairs N] [--elsewhere] preset=egrsd model=qwen3_4b hardware=gpu8 [key=value ...]"
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
    if not arguments.elsewhere:
        require_cluster_of(overrides)
    _refuse_supervised(overrides)
    from verl_egrsd.configs.composing import composed

    config = composed("verl_egrsd.configs", "egrsd", overrides)
    fresh = FreshProcess()
    # Ray and verl print while they are imported and while they check.
    with redirect_stdout(StringIO()):
        from verl_egrsd.doctor.examination import Examination

    examination = Examination(config, fresh, elsewhere=arguments.elsewhere, pairs=arguments.pairs)
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


def _refuse_supervised(overrides: list[str]) -> None:
    from verl_egrsd.configs.composing import preset_groups

    groups = preset_groups("verl_egrsd.configs.sft")
    words = [f"{group}={name}" for group in ("preset", "base") for name in groups[group]]
    if named := [word for word in overrides if word.lstrip("+") in words]:
        raise ValueError(
            f"{named[0]} is for supervised training, which check does not know: verl-egrsd sft "
            f"{' '.join(overrides)} dry_run=true checks its settings and files."
        )
