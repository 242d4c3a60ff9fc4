"""Composes a configuration from the words of a command line; a misspelt one gets the nearest name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig

from verl_egrsd.preflight.reading import plain

ALIKE = 0.6
"""Share of equal letters from which `difflib` takes a name for a misspelt one."""


def composed(module: str, name: str, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of a module with overrides.

    Args:
        module: package of the yaml files, such as `verl_egrsd.configs`.
        name: of the main file.
        overrides: words as `preset=egrsd` or `data.train_batch_size=8`.

    Raises:
        ValueError: for an unknown key or preset, with the nearest name, and for a word without a value.
    """
    try:
        return _composed(module, name, overrides)
    except MissingConfigException as error:
        raise ValueError(_unknown_choice(module, error)) from error
    except ConfigCompositionException as error:
        keys = [*preset_groups(module), *_keys(plain(_composed(module, name, ()), resolve=False))]
        raise ValueError(_unknown_key(_key_of(error), keys, str(error))) from error
    except OverrideParseException as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{error.override} is not of the form key=value: {said}.") from error


def _composed(module: str, name: str, overrides: Sequence[str]) -> DictConfig:
    with initialize_config_module(module, version_base=None):
        return compose(name, overrides=[*_files_of_verl(), *with_plus(module, overrides)])


def _files_of_verl() -> list[str]:
    """Return where verl's yaml files are; by its package Hydra would import verl, which takes seconds."""
    spec = find_spec("verl")
    if spec is None or spec.origin is None:
        return []
    return [f"hydra.searchpath=['file://{Path(spec.origin).parent / 'trainer' / 'config'}']"]


def preset_groups(module: str) -> dict[str, list[str]]:
    """Return the groups of a module's files, such as `preset`, and the names in each."""
    folders = [entry for entry in files(module).iterdir() if entry.is_dir()]
    found = {
        folder.name: [file.name for file in folder.iterdir() if file.name.endswith(".yaml")]
        for folder in folders
        if not any(entry.is_dir() for entry in folder.iterdir())
    }
    return {group: sorted(name[:-5] for name in names) for group, names in found.items() if names}


def with_plus(module: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides as Hydra wants them: a group that no file names by default is added with `+`."""
    groups = preset_groups(module)
    return [f"+{word}" if word.partition("=")[0] in groups else word for word in overrides]


def _unknown_choice(module: str, error: MissingConfigException) -> str:
    group, _, given = str(error.missing_cfg_file).partition("/")
    groups = preset_groups(module)
    known = groups.get(group) or sorted(error.options or ())
    nearest = [f"{group}={name}" for name in get_close_matches(given, known, n=1, cutoff=ALIKE)]
    nearest += [f"{other}={given}" for other, names in groups.items() if given in names]
    meant = f": did you mean {nearest[0]}?" if nearest else "."
    return f"{group}={given} is unknown{meant} There are {', '.join(known)}."


def _key_of(error: ConfigCompositionException) -> str:
    """Return the key that Hydra could not find, or could not add."""
    return str(error).partition("'")[2].partition("'")[0].lstrip("+~")


def _unknown_key(key: str, known: Sequence[str], said: str) -> str:
    if not said.startswith("Could not override") or key in known:
        return " ".join(said.split())
    nearest = nearest_key(key, known)
    meant = f"did you mean {nearest}?" if nearest else "docs/configuration.md lists the keys."
    return f"{key} is not a key of the configuration: {meant}"


def nearest_key(key: str, known: Sequence[str]) -> str | None:
    """Return the key that was probably meant; None if no name is close.

    In this order: a name close to it in the same section, the same name in another section, a close key.
    """
    section, _, name = key.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section}
    if close := get_close_matches(name, siblings, n=1, cutoff=ALIKE):
        return siblings[close[0]]
    moved = [other for other in known if other.rpartition(".")[2] == name]
    close = get_close_matches(key, moved or known, n=1, cutoff=0.0 if moved else ALIKE)
    return close[0] if close else None


def _keys(section: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted names of all sections and values."""
    for name, value in section.items():
        yield f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{name}.")
