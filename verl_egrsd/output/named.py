"""Is there what a command names? Asked before the imports of the command, which take seconds."""

from __future__ import annotations

import re
from pathlib import Path

HUB_ID = re.compile(r"(?![.~/])[\w.-]+(/[\w.-]+)?")
CHECKPOINT = re.compile(r"(.*/)?global_step_\d+")


def require_model_name(name: str | None) -> None:
    """Refuse what is neither a folder nor can be the id of a model on the hub; accept None.

    Raises:
        FileNotFoundError: naming it.
    """
    if name is None or Path(name).expanduser().exists():
        return
    if CHECKPOINT.fullmatch(name.rstrip("/")):
        raise FileNotFoundError(f"{name} is missing: name a folder global_step_N of a run.")
    if not HUB_ID.fullmatch(name):
        raise FileNotFoundError(f"{name} is neither a folder nor a hub id: pass one of the two.")


def require_existing(path: str | Path | None, what: str) -> None:
    """Refuse a file or folder that is missing; accept None.

    Args:
        path: the file or folder.
        what: what should be there, as the end of "name ...".

    Raises:
        FileNotFoundError: naming it.
    """
    if path is not None and not Path(path).expanduser().exists():
        raise FileNotFoundError(f"{path} is missing: name {what}.")
