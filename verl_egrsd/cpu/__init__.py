"""verl without an accelerator, active only under `VERL_PLATFORM=cpu`."""

import os

ENDS_WITH = "VERL_EGRSD_ENDS_WITH"
"""Environment variable: id of the process whose vLLM processes end when it does."""


def selected() -> bool:
    """Whether this process was told to run on the CPU platform."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"
