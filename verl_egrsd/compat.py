"""Is the installed verl one that this package works with? Asked at start."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from verl_egrsd.interfaces import ADDED, PROBES, SFT_ADDED, SFT_PROBES
from verl_egrsd.methods.table import TABLE

VERL = SpecifierSet(">=0.9.1,<0.9.2")
"""Tested versions of verl; widened after a tested release."""

INSTALL = 'pip install "verl==0.9.1" "TransferQueue==0.1.11" "tensordict==0.10.0"'

SECTION = ("actor_rollout_ref", "teacher")
"""Section of this package inside one of verl's."""

REGISTRIES = {
    "estimator": (
        "verl.trainer.ppo.core_algos",
        "ADV_ESTIMATOR_REGISTRY",
        tuple(method.name for method in TABLE),
    ),
    "policy loss": ("verl.trainer.ppo.core_algos", "POLICY_LOSS_REGISTRY", ("egrsd", "egrsd_ppo_clip")),
    "trainer": ("verl.trainer.ppo.v1.trainer_base", "TRAINER_REGISTRY", ("egrsd_sync",)),
}
"""By kind: verl's registry, and our names in it."""


def check_version() -> str:
    """Return the version of verl.

    Raises:
        ImportError: when this package was not tested with that version; the message says what to install.
    """
    installed = version("verl")
    if Version(installed) not in VERL:
        raise ImportError(f"verl {installed} is outside the tested window {VERL}: {INSTALL}")
    return installed


def check_verl(*, supervised: bool = False) -> None:
    """Check the version of verl, every interface, and that our names in verl's classes are free.

    Args:
        supervised: whether `SFT_PROBES` and `SFT_ADDED` are checked in place of `PROBES` and `ADDED`.

    Raises:
        ImportError: naming the version, interface or name that differs, and what to install.
    """
    installed = check_version()
    for module, attribute, parameters in declared(SFT_PROBES if supervised else PROBES):
        target = _found(installed, module, attribute)
        found = inspect.signature(target).parameters if parameters else {}
        missing = [name for name in parameters if name not in found]
        if missing:
            raise ImportError(
                f"{module}.{attribute} of verl {installed} lacks {', '.join(missing)}: {INSTALL}"
            )
    for module, name, added in SFT_ADDED if supervised else ADDED:
        taken = sorted(names_of(_found(installed, module, name)) & {*added.split()})
        if taken:
            raise ImportError(f"{module}.{name} of verl {installed} has {', '.join(taken)} itself: {INSTALL}")
    parent, section = SECTION
    if section in verl_settings()[parent]:
        raise ImportError(f"verl {installed} has a section {parent}.{section} itself: {INSTALL}")


def declared(probes: Mapping[str, str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield module, name and parameters of each line of a table such as `PROBES`."""
    for module, lines in probes.items():
        for line in lines.split("\n"):
            name, _, parameters = line.strip().removesuffix(")").partition("(")
            if name:
                yield module, name, parameters.split(", ") if parameters else []


def _found(installed: str, module: str, attribute: str) -> Any:
    try:
        return attrgetter(attribute)(import_module(module))
    except (ModuleNotFoundError, AttributeError) as error:
        raise ImportError(f"verl {installed} has no {module}.{attribute}: {INSTALL}") from error


def names_of(cls: type) -> set[str]:
    """Return the names that a class defines, and those that its methods read or set."""
    names: set[str] = set()
    for base in cls.__mro__[:-1]:
        functions = [inspect.unwrap(value) for value in vars(base).values() if callable(value)]
        codes = [function.__code__ for function in functions if inspect.isfunction(function)]
        names |= vars(base).keys() | {name for code in codes for name in code.co_names}
    return names


@cache
def verl_settings() -> dict[str, Any]:
    """Return verl's whole configuration, which its wheel holds as one file."""
    spec = find_spec("verl")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "trainer" / "config" / "_generated_ppo_trainer.yaml"
    return yaml.safe_load(file.read_text())


def assert_registered(*kinds: str) -> None:
    """Check that verl knows the plug-in's names in this process.

    verl reports a plug-in that fails to import at DEBUG level only, and an unknown loss at the first update
    only.

    Args:
        kinds: keys of `REGISTRIES`; empty means all. Each one imports verl's module with that registry, so a
            process names the ones that it uses.

    Raises:
        ImportError: listing the missing names and the import that shows the cause.
    """
    missing = []
    for kind in kinds or REGISTRIES:
        module, registry, names = REGISTRIES[kind]
        known = getattr(import_module(module), registry)
        missing += [f"{kind} {name}" for name in names if name not in known]
    if missing:
        raise ImportError(
            f"verl does not know {', '.join(missing)}: the plug-in verl_egrsd was not loaded in this "
            "process. VERL_USE_EXTERNAL_PLUGINS must be auto or name verl_egrsd; `python -c 'import "
            "verl_egrsd.plugin'` shows an import that fails."
        )
