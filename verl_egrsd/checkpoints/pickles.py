"""No code from a checkpoint: verl unpickles its files, so they are first read without running any.

torch's loader of weights executes a small part of pickle: containers, numbers and tensors. A file that it
reads to the end cannot run code in verl's loader either.
"""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor  # noqa: F401  (makes shards readable as weights)
from torch.serialization import safe_globals

_NEW_ARRAY = np.zeros(0).__reduce__()[0]
RANDOM_STATE: list[Any] = [
    *(np.ndarray, np.dtype, type(np.dtype(np.uint32))),
    *((_NEW_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""What numpy's random state is made of, which verl saves among a rank's extra state."""


def require_plain(checkpoint: Path, trusted: str | None = None) -> None:
    """Refuse a checkpoint that holds more than numbers, texts, containers and tensors.

    Args:
        checkpoint: folder `global_step_N`.
        trusted: a checkpoint that may hold anything; its code runs when verl loads it.

    Raises:
        ValueError: naming the file, what it would load, and the remedy.
    """
    if trusted is not None and Path(trusted).resolve() == checkpoint.resolve():
        return
    # It warns of shards that are read before the processes of their ranks exist.
    logging.getLogger("torch.distributed.device_mesh").setLevel(logging.ERROR)
    # verl loads files of the checkpoint and of the folders in it. rglob would not follow links to folders.
    for path in sorted([*checkpoint.glob("*.pt"), *checkpoint.glob("*/*.pt")]):
        try:
            with safe_globals(RANDOM_STATE):
                torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except UnpicklingError as error:
            raise ValueError(
                f"{path} holds more than weights and numbers, and verl would run its code ({_what(error)}). "
                f"If you trust who wrote it, name it: resume.trust={checkpoint} (stock main_ppo: "
                f"+resume.trust=...)."
            ) from error
        except Exception as error:  # a damaged file may raise anything, and so may one of another format
            raise ValueError(
                f"{path} cannot be read as weights and numbers ({type(error).__name__}: "
                f"{_first_line(error)}). Put the whole file back, or name another checkpoint "
                "(trainer.resume_mode=resume_path, trainer.resume_from_path)."
            ) from error


def _what(error: UnpicklingError) -> str:
    """Return the sentence of torch's long message that names the type or function."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "GLOBAL" in line or "nsupported" in line), lines[0])[:200]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120]
