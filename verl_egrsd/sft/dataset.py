"""The rows of this package's parquet as verl's supervised trainer reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import Dataset

from verl_egrsd.config import build
from verl_egrsd.preflight.reading import plain
from verl_egrsd.sft.examples import Example, ExampleReader, LeftOut
from verl_egrsd.sft.settings import ExampleConfig


class SolutionDataset(Dataset):
    """Prompt and response of each row, in tokens; the loss covers the response alone.

    verl builds it by `data.custom_cls`. All rows are read and checked before the first step.

    Args:
        parquet_files: one file or several.
        tokenizer: with the model's chat template.
        config: the section `data` of the configuration.
        processor: of a model of several modalities; must be None.
        max_samples: first rows to take; -1 takes all.

    Attributes:
        left_out: rows that are not learned, by the user's choice.

    Raises:
        ValueError: for a row that cannot be learned, see :class:`ExampleReader`, and where none is left.
    """

    def __init__(
        self,
        parquet_files: str | Sequence[str],
        tokenizer: Any,
        config: DictConfig,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        files = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        rows = rows[:max_samples] if max_samples >= 0 else rows
        examples = build(ExampleConfig, plain(config.get("examples")), "data.examples")
        chat = plain(config.apply_chat_template_kwargs)
        self.left_out: list[LeftOut] = []
        self.rows: list[tuple[Tensor, int]] = []
        for found in ExampleReader(tokenizer, examples, chat, config.max_length).read(rows):
            if isinstance(found, Example):
                ids = torch.tensor([*found.prompt, *found.response], dtype=torch.int32)
                self.rows.append((ids, len(found.prompt)))
            else:
                self.left_out.append(found)
        if not self.rows:
            raise ValueError(f"{', '.join(files)}: none of {len(rows)} rows is left to learn.")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        """Return `input_ids`, `position_ids` and `loss_mask`, each (tokens,)."""
        ids, prompt = self.rows[position]
        return {
            "input_ids": ids.long(),
            "position_ids": torch.arange(len(ids)),
            "loss_mask": (torch.arange(len(ids)) >= prompt).long(),
        }


def require_batch(rows: int, batch: int, split: str) -> None:
    """Refuse fewer rows than a batch takes.

    Args:
        rows: that are left to learn.
        batch: rows of a batch.
        split: `train` or `val`.

    Raises:
        ValueError: with both numbers and the remedy.
    """
    if rows < batch:
        raise ValueError(
            f"{rows} rows of data.{split}_files are left, less than one batch "
            f"(data.train_batch_size={batch}): add data, or lower the batch size."
        )
