"""Which files of a folder are read: the configurations and splits of a data set, as the hub lays them out.

If README.md declares configurations, they decide. Otherwise the names of the files decide:
`main/test-00000-of-00001.json`, `metadata/train/0000.parquet` and `gsm8k_train.jsonl` name a split, and the
folder around a split names a configuration. If no file names a split, the whole folder is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub.repocard import metadata_load

ENDINGS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".arrow")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
NOT_ROWS = re.compile(r"dataset_infos?\.json|dataset_dict\.json|state\.json|cache-.*\.arrow|data_card\.json")
"""Files and folders that data sets keep beside their rows."""
DEFAULT = "default"
SPLIT_WORDS = {"train": "train", "training": "train"}
SPLIT_WORDS |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
SPLIT_WORDS |= dict.fromkeys(("test", "testing", "eval", "evaluation"), "test")
_SHARD = re.compile(r"([A-Za-z_]\w*)-\d{5}-of-\d{5}")
"""The hub's names of shards: split, number, count."""


class _Place(NamedTuple):
    """A file, its configuration and its split; the split is "" if the names do not tell."""

    file: Path
    config: str
    split: str


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split of one configuration.

    Attributes:
        files: the files to read, in order.
        left_out: files with rows that are not read.
        config: the configuration, "default" where the folder has only one.
        split: the split, "" where the folder names none.
    """

    files: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()
    config: str = DEFAULT
    split: str = ""


def file_suffix(path: Path) -> str:
    """Return the ending that names the format of the rows, without the ending of a compression."""
    name = path.name.lower()
    suffix = Path(name).suffix
    return Path(name.removesuffix(suffix)).suffix if suffix in COMPRESSIONS else suffix


def choose_files(folder: Path, config: str | None, split: str) -> SplitFiles:
    """Return the files of a folder that belong to a configuration and a split.

    Args:
        folder: a folder of files, a copy of a data set of the hub, or its folder in the hub's cache.
        config: a configuration; None takes the only one, or the one that is called or declared the default.
        split: a split; ignored if the folder names no splits.

    Raises:
        ValueError: for a folder without rows, for a configuration or split that the folder lacks, for several
            configurations without a choice, or for files of several kinds. The message lists what was found
            and names the flag.
    """
    folder = _snapshot(folder)
    files = [file for file in sorted(folder.rglob("*")) if _holds_rows(file, folder)]
    if not files:
        raise ValueError(f"{folder} must hold files that end in {', '.join(ENDINGS)}; found none.")
    entries = _declarations(folder)
    places = list(_declared(entries, folder, files)) or _guessed(files, folder)
    default = next((str(entry["config_name"]) for entry in entries if entry.get("default")), DEFAULT)
    chosen = _config(folder, places, config, default)
    splits = sorted({place.split for place in places if place.config == chosen and place.split})
    wanted = _split(folder, chosen, splits, split)
    read = tuple(place.file for place in places if (place.config, place.split) == (chosen, wanted))
    kinds = sorted({file_suffix(file) for file in read})
    if len(kinds) > 1:
        raise ValueError(
            f"{folder} must hold shards of one kind; found {' and '.join(kinds)}: name one file as --source, "
            "or move the others away."
        )
    return SplitFiles(read, tuple(file for file in files if file not in set(read)), chosen, wanted)


def _snapshot(folder: Path) -> Path:
    """Return the current snapshot of a folder in the hub's cache; any other folder unchanged."""
    ref = folder / "refs" / "main"
    return folder / "snapshots" / ref.read_text().strip() if ref.is_file() else folder


def _holds_rows(file: Path, folder: Path) -> bool:
    # A hidden folder, such as .cache, holds no shard.
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return (
        file_suffix(file) in ENDINGS and not hidden and not NOT_ROWS.fullmatch(file.name) and file.is_file()
    )


def _declarations(folder: Path) -> list[dict[str, Any]]:
    """Return what README.md declares under `configs`."""
    card = folder / "README.md"
    about = metadata_load(card) if card.is_file() else None
    return list((about or {}).get("configs") or ())


def _declared(entries: Sequence[dict[str, Any]], folder: Path, files: Sequence[Path]) -> Iterator[_Place]:
    """Yield a place for each file that exists and that README.md declares."""
    for entry in entries:
        base = folder / entry.get("data_dir", "")
        for split, pattern in _patterns(entry.get("data_files", {"": "**/*"})):
            matched = {path.resolve() for path in base.glob(pattern.removeprefix("./"))}
            for file in files:
                if file.resolve() in matched:
                    named = split or _place(file, folder).split
                    yield _Place(file, str(entry.get("config_name", DEFAULT)), named)


def _patterns(declared: Any) -> Iterator[tuple[str, str]]:
    """Yield split and pattern of a `data_files` entry; a pattern without a split belongs to `train`."""
    if isinstance(declared, str):
        yield "train", declared
    elif isinstance(declared, list):
        for item in declared:
            yield from _patterns(item)
    else:
        items = [(declared["split"], declared["path"])] if "path" in declared else declared.items()
        for split, paths in items:
            for path in [paths] if isinstance(paths, str) else paths:
                yield str(split), path


def _guessed(files: Sequence[Path], folder: Path) -> list[_Place]:
    """Return the places of files by their names; a single word such as "part" does not name a split."""
    places = [_place(file, folder) for file in files]
    splits = {place.split for place in places} - {""}
    if len(splits) == 1 and not splits & set(SPLIT_WORDS.values()):
        return [_Place(file, DEFAULT, "") for file in files]
    return places


def _place(file: Path, folder: Path) -> _Place:
    """Return a file's place by its name and the names of the folders around it.

    A folder is a configuration only if it holds a split. Files in other folders, such as
    `algebra/rows.jsonl`, are shards of one data set.
    """
    *around, name = file.relative_to(folder).parts
    split = _split_word(name)
    while around and not split:
        split = _split_word(around.pop())
    config = "/".join(part for part in around if part != "data")
    return _Place(file, (config if split else "") or DEFAULT, split)


def _split_word(name: str) -> str:
    """Return the split that a name contains, "" for none: "gsm8k_test" is `test`, "testament" has none."""
    words = re.split(r"[^a-z]+", name.lower())
    found = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")
    shard = _SHARD.match(name)
    return found or (shard[1] if shard and shard[1] != "data" else "")


def _config(folder: Path, places: Sequence[_Place], config: str | None, default: str) -> str:
    names = sorted({place.config for place in places})
    wanted = config or default
    if wanted in names:
        return wanted
    # A folder with a single configuration may be a copy of the requested one that lost its name.
    if len(names) == 1 and (config is None or names == [DEFAULT]):
        return names[0]
    asked = "several configurations" if config is None else f"no configuration {config!r}"
    raise ValueError(f"{folder} has {asked}; found {', '.join(names)}: choose one with --config.")


def _split(folder: Path, config: str, splits: Sequence[str], split: str) -> str:
    if split in splits or not splits:
        return split if splits else ""
    raise ValueError(
        f"{folder} has no split {split!r} in the configuration {config!r}; found {', '.join(splits)}: choose "
        "one with --split, or give a file as --source."
    )
