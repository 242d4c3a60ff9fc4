"""What a path names: a model, an adapter, a checkpoint of a run, or a model on the hub.

The files in the folder decide. Only small files are read, and only :meth:`HubId.download` downloads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from verl_egrsd.checkpoints.files import read_object
from verl_egrsd.output.named import HUB_ID

STATE_FILE = "egrsd.json"
"""The trainer's state in every checkpoint, beside weights, optimiser and position in the data."""
RANKS_FILE, RANKS = "fsdp_config.json", "world_size"
"""How many ranks wrote the shards of a checkpoint, and the key of their number; it lies beside them."""
STATE_HOLDS = "the state of the trainer as JSON"
RANKS_HOLDS = f'the number of ranks as JSON, {{"{RANKS}": N}}'
_MARKS = ("config.json", "adapter_config.json", RANKS_FILE, "actor/")
"""The files that identify a model, an adapter and a checkpoint."""
_STEP_FOLDER = re.compile(r"global_step_(\d+)")


@dataclass(frozen=True)
class Model:
    """A folder with all weights of a model.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """The folder as text, for loaders of models."""
        return str(self.path)


@dataclass(frozen=True)
class Adapter:
    """A peft folder with a LoRA adapter.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def rank(self) -> int:
        """Rank of the adapter."""
        return self._config()["r"]

    @property
    def base_model(self) -> str | None:
        """Folder or hub id of the base model; None if the adapter does not record it."""
        return self._config().get("base_model_name_or_path")

    def _config(self) -> dict[str, Any]:
        return read_object(self.path / "adapter_config.json", "peft's settings of an adapter as JSON")


@dataclass(frozen=True)
class SavedStep:
    """A checkpoint of a run.

    Attributes:
        path: its folder `global_step_N`.
    """

    path: Path

    @property
    def weights(self) -> Path:
        """Folder of the weights, each rank's shards: `actor` of a run, the checkpoint itself after SFT."""
        return self.path if (self.path / RANKS_FILE).exists() else self.path / "actor"

    @property
    def huggingface(self) -> Path:
        """Folder of the model's configuration, tokenizer and generation config."""
        return self.weights / "huggingface"

    @property
    def state(self) -> dict[str, Any] | None:
        """The state that our trainer wrote beside the weights; None in a checkpoint of another trainer."""
        file = self.path / STATE_FILE
        return read_object(file, STATE_HOLDS) if file.exists() else None

    @property
    def base_model(self) -> str | None:
        """Folder or hub id of the weights that training started from; None if it is not recorded."""
        return (self.state or {}).get("base_model")


@dataclass(frozen=True)
class HubId:
    """A name on the hub.

    Attributes:
        name: such as `Qwen/Qwen3-4B`.
    """

    name: str

    def download(self, patterns: Sequence[str]) -> Path:
        """Return a folder with the files of these patterns, from the hub's cache or the hub.

        Raises:
            FileNotFoundError: when neither the cache nor the hub has them.
        """
        try:
            return Path(snapshot_download(self.name, allow_patterns=list(patterns)))
        except OSError as error:
            raise FileNotFoundError(
                f"{self.name} is not a folder here, and the hub does not provide it: {error}"
            ) from error


Place = Model | Adapter | SavedStep | HubId


def find_place(name: str | Path, also: Sequence[str] = ()) -> Place:
    """Return what a path or hub id names. A checkpoint may also be named by its folder `actor`.

    Args:
        name: path or hub id.
        also: further files that the caller accepts, for the message.

    Raises:
        FileNotFoundError: for a folder without such files, and for a name that cannot be a hub id.
    """
    path = Path(name).expanduser()
    if (path / "adapter_config.json").exists():
        return Adapter(path)
    if path.name == "actor" or (path / "actor").is_dir():
        return saved_step(path)
    if (path / RANKS_FILE).exists():
        return SavedStep(path)
    if (path / "config.json").exists():
        return Model(path)
    if path.is_dir():
        *others, last = *_MARKS, *also
        raise FileNotFoundError(
            f"{path} is not a model, adapter or checkpoint: it has no {', '.join(others)} or {last}."
        )
    if not HUB_ID.fullmatch(str(name)):
        raise FileNotFoundError(f"{name} is neither a folder nor a hub id: pass one of the two.")
    return HubId(str(name))


def config_file(model: str) -> Path | None:
    """Return the path of a model's `config.json`; see :func:`local_file`."""
    return local_file(model, "config.json")


def local_file(model: str, name: str) -> Path | None:
    """Return the path of a file of a model, in a folder or in the hub's cache; None without one."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    try:
        cached = try_to_load_from_cache(model, name)
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None


def saved_step(path: str | Path) -> SavedStep:
    """Return the checkpoint of `.../global_step_N`, or of the `actor` folder in it."""
    path = Path(path)
    return SavedStep(path.parent if path.name == "actor" else path)


def step_number(path: str | Path) -> int | None:
    """Return N of an existing folder `global_step_N`, else None."""
    found = _STEP_FOLDER.fullmatch(Path(path).name)
    return int(found[1]) if found and Path(path).is_dir() else None
