"""Before anything is prepared: would a training of each arm be refused, and how large are its checkpoints?

    python -m recipes.reproduce.refused < FILE      # JSON: by arm the module and the words of its command

Prints JSON: by arm the reason of a refusal, or null, and the bytes of a checkpoint. The files of earlier
stages are not asked for. In a process of its own, since verl's imports are large and print.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

from recipes.reproduce.plan import Plan
from recipes.reproduce.trainings import VERL, training

WORDS = Path(__file__).with_name("words.py")
REFUSED_SECONDS = 600


class Asked(NamedTuple):
    """What is known of an arm: why it would be refused, or None; the bytes of a checkpoint, 0 if unknown."""

    refused: str | None
    checkpoint: float


def ask_arms(plan: Plan) -> dict[str, Asked]:
    """Return the answer of each arm of a reproduction on GPUs.

    Raises:
        ValueError: for a variable that a recipe cannot read.
        RuntimeError: when the process that asks them fails, with its last line.
    """
    commands = {run.arm: _words(*training(run)) for run in plan.runs}
    done = subprocess.run(
        [sys.executable, "-m", "recipes.reproduce.refused"],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=REFUSED_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the settings cannot be checked: {done.stderr.strip().splitlines()[-1]}")
    return {arm: Asked(*found) for arm, found in json.loads(done.stdout).items()}


def _words(command: Sequence[str], environment: dict[str, str]) -> list[str]:
    """Return the module and the words that a recipe starts its training with."""
    asked = os.environ | environment | {"PYTHON": str(WORDS), "DRY_RUN": "1"}
    found = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    if found.returncode:
        raise ValueError(f"{command[1]}: {found.stderr.strip()}")
    return json.loads(found.stdout)


def main() -> None:
    """Answer for the commands of the standard input."""
    commands = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        found = {arm: ask_arm(*words) for arm, words in commands.items()}
    print(json.dumps(found))


def ask_arm(module: str, *words: str) -> Asked:
    """Return the answer for the command of one arm."""
    from verl_egrsd.configs.composing import composed
    from verl_egrsd.cost.settings import shape_of
    from verl_egrsd.doctor.installed import check_versions
    from verl_egrsd.doctor.lines import REFUSED_WITH, Severity
    from verl_egrsd.doctor.machine import checkpoint_bytes
    from verl_egrsd.main import check
    from verl_egrsd.preflight.attention import flash_attention_error
    from verl_egrsd.sft.main import check_sft_start

    try:
        if missing := [line.text for line in check_versions() if line.level is Severity.WRONG]:
            return Asked(missing[0], 0.0)
        moving = False
        if module == VERL:
            config = composed("verl_egrsd.configs", "egrsd", words)
            moving = check(config)[1].moves
        else:
            config = composed("verl_egrsd.configs.sft", "sft", words)
            check_sft_start(config)
        shape = shape_of(config)
        one = checkpoint_bytes(config, shape, moving=moving) if shape else 0.0
        return Asked(flash_attention_error(config), one)
    except REFUSED_WITH as error:
        return Asked(str(error), 0.0)


if __name__ == "__main__":
    main()
