"""verl without an accelerator, active only under `VERL_PLATFORM=cpu`."""

import os


def selected() -> bool:
    """Whether this process was told to run on the CPU platform."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"
