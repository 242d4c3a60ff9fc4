"""Find variables that look like a recipe's but are not, name the nearest one, and ask for verl.

python3 recipes/environment.py RECIPE     # a key of RECIPES; exit code 2 and a line for each thing found

A name looks like a recipe's if it is one in lower case, one letter away from one, a common synonym, or a name
of another recipe. This file uses only the standard library: it runs before anything is installed.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

RECIPES = {
    "train_gpu": (
        *("MODEL_PATH", "TRAIN_FILE", "VAL_FILE", "OUTPUT", "STEPS", "BATCH", "LR", "SEED", "THINKING"),
        *("RESUME", "NNODES", "RAY_ADDRESS", "GPUS", "HARDWARE", "LOGGER", "PYTHON", "DRY_RUN", "CHECK"),
    ),
    "rehearse_cpu": (
        *("PRESET", "VOCABULARY", "DATA", "RUN_NAME", "TIME_LIMIT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"),
        *("PYTHON", "PIP_EXTRA_INDEX_URL"),
    ),
    "sft_gpu": (
        *("MODEL_PATH", "TRAIN_FILE", "VAL_FILE", "OUTPUT", "STEPS", "BATCH", "LR", "SEED", "THINKING"),
        *("RESUME", "SFT_PRESET", "GPUS", "LOGGER", "TIME_LIMIT", "PYTHON", "DRY_RUN", "CHECK"),
    ),
    "reproduce": (
        *("ARMS", "SEEDS", "MODEL", "HARDWARE", "PROTOCOL", "STEPS", "CHECKPOINTS", "PROBLEMS", "SOURCE"),
        *("STAGES", "OUT", "GPUS", "DRY_RUN", "PYTHON", "NNODES", "RAY_ADDRESS", "LOGGER"),
        *("OMP_WAIT_POLICY", "PIP_EXTRA_INDEX_URL"),
    ),
    "mini_frontier": ("QUICK", "ARMS", "SEEDS", "OUT", "PYTHON", "PIP_EXTRA_INDEX_URL", "OMP_WAIT_POLICY"),
}
"""Variables of each recipe; docs/configuration.md explains them."""

SYNONYMS = {
    "BATCH": ("BATCH_SIZE", "TRAIN_BATCH_SIZE"),
    "DRY_RUN": ("DRY",),
    "GPUS": ("NUM_GPUS", "N_GPUS", "NGPUS", "GPUS_PER_NODE", "NGPUS_PER_NODE"),
    "LR": ("LEARNING_RATE", "ACTOR_LR"),
    "MODEL": ("MODEL_PATH", "MODEL_NAME"),
    "MODEL_PATH": ("MODEL", "MODEL_NAME"),
    "NNODES": ("NODES", "NUM_NODES", "N_NODES"),
    "OUT": ("OUTPUT", "OUTPUTS", "OUTPUT_DIR", "OUT_DIR"),
    "OUTPUT": ("OUTPUT_DIR", "OUT_DIR"),
    "STEPS": ("MAX_STEPS", "NUM_STEPS", "TOTAL_STEPS", "TRAINING_STEPS"),
    "TRAIN_FILE": ("TRAIN_DATA",),
    "VAL_FILE": ("VAL_DATA",),
}
FOREIGN = {"CPUS", "DATE", "HOSTS", "PYTHON2", "PYTHON3", "PYTHONS", "SHELL"}
"""Names one letter away that other programs set."""
SHARED = {"DATA", "OUT", "RAY_ADDRESS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PIP_EXTRA_INDEX_URL"}
"""Names of recipes that other programs read too."""
OVERRIDDEN = {"train_gpu", "sft_gpu", "rehearse_cpu"}
"""Recipes that take settings as trailing words."""


NEEDS_VERL = {"train_gpu", "sft_gpu", "reproduce"}
"""Recipes that run in the user's environment, unless they train on the CPU."""


def complaints(recipe: str, names: list[str]) -> list[str]:
    """Return a sentence for each name that looks like a recipe's and is not read by this one."""
    found = []
    for name in sorted(set(names) - set(RECIPES[recipe]) - FOREIGN - SHARED):
        reader = next((other for other, known in RECIPES.items() if name in known), None)
        nearest = next((known for known in RECIPES[recipe] if _meant(name, known)), None)
        read = f"read by recipes/{reader}.sh, not by this recipe" if reader else "not read by any recipe"
        if nearest:
            found.append(f"{name} is {read}: did you mean {nearest}? Otherwise unset {name}.")
        elif reader:
            words = " Any setting can be a trailing key=value." if recipe in OVERRIDDEN else ""
            found.append(f"{name} is {read}: unset it.{words}")
    return found


def _meant(name: str, known: str) -> bool:
    upper = name.upper()
    return upper == known or upper in SYNONYMS.get(known, ()) or (len(known) > 3 and one_edit(upper, known))


def one_edit(first: str, second: str) -> bool:
    """Return whether one letter more, less, other, or swapped with its neighbour makes one name the other."""
    shorter, longer = sorted((first, second), key=len)
    if shorter == longer or len(longer) - len(shorter) > 1:
        return False
    start = next((i for i, letter in enumerate(shorter) if letter != longer[i]), len(shorter))
    if len(shorter) < len(longer):
        return shorter[start:] == longer[start + 1 :]
    swapped = shorter[start + 1 : start + 2] + shorter[start : start + 1] + shorter[start + 2 :]
    return shorter[start + 1 :] == longer[start + 1 :] or swapped == longer[start:]


def uninstalled(recipe: str) -> str | None:
    """Say that the interpreter of a recipe lacks what it needs; None where it does not."""
    if recipe not in NEEDS_VERL or os.environ.get("HARDWARE") == "cpu" or find_spec("verl"):
        return None
    return (
        f"{sys.executable} has no verl: name the interpreter of the environment that has it in PYTHON, or "
        "install into this one: pip install -r requirements/gpu.txt, then pip install ."
    )


def main() -> int:
    """Print what is wrong with the environment of this process."""
    found = complaints(sys.argv[1], list(os.environ))
    found += filter(None, [uninstalled(sys.argv[1])])
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 2 if found else 0


if __name__ == "__main__":
    sys.exit(main())
