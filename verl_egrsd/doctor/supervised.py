"""The checks of supervised training: its own in place of those of prompts, rollouts and rewards."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow.parquet as pq

from verl_egrsd.cost.settings import sft_plan_of
from verl_egrsd.doctor.examination import Examination, NamedCheck
from verl_egrsd.doctor.installed import check_versions
from verl_egrsd.doctor.lengths import against
from verl_egrsd.doctor.lines import CheckLine, doubt
from verl_egrsd.doctor.machine import check_disk, check_memory, check_update_seconds
from verl_egrsd.doctor.prompts import block, first_rows, load_tokenizer
from verl_egrsd.preflight.existing import check_sft_files
from verl_egrsd.preflight.reading import file_list, plain
from verl_egrsd.rows import Row, row_name
from verl_egrsd.sft.dataset import require_batch
from verl_egrsd.sft.examples import Example, ExampleReader, LeftOut
from verl_egrsd.sft.main import check_ranks, check_sft_start, several_nodes
from verl_egrsd.sft.settings import ExampleConfig


class SupervisedExamination(Examination[ExampleConfig]):
    """The checks of a supervised training."""

    lengths: Sequence[int] = ()

    def checks(self) -> list[NamedCheck]:
        """Return the checks in their order."""
        return [
            ("versions", check_versions),
            ("settings", self._settings),
            ("files", partial(self.files, check_sft_files)),
            ("folders", self.folders),
            ("start", self.start),
            ("GPUs", self.gpus),
            ("nodes", self._nodes),
            ("examples", self._examples),
            ("disk", self._disk),
            ("memory", self._memory),
            ("seconds", self._seconds),
            ("plug-in", self.fresh.findings),
        ]

    def _settings(self) -> Iterator[CheckLine]:
        yield from self.settings(check_sft_start)
        assert self.settled is not None
        name, learned = self.config.trainer.experiment_name, self.settled.solution
        yield CheckLine("settings", f"{name}: supervised training on {learned}")

    def _nodes(self) -> Iterator[CheckLine]:
        if self.settled is None or self.elsewhere:
            return
        if self.config.trainer.nnodes > 1 and "RANK" not in os.environ:
            yield doubt("nodes", several_nodes(self.config))
        else:
            check_ranks(self.config)

    def _examples(self) -> Iterator[CheckLine]:
        if self.settled is None or not self.files_found:
            return
        tokenizer = load_tokenizer(self.config)
        if tokenizer is None:
            said = (
                "not shown, not measured, and no seconds are predicted: the tokenizer is not on this machine."
            )
            yield doubt("examples", said)
            return
        # Of any length: a row above data.max_length is counted here, and not refused by itself.
        chat, any_length = plain(self.config.data.apply_chat_template_kwargs), sys.maxsize
        reader = ExampleReader(tokenizer, self.settled, chat, any_length)
        for split in ("train", "val") if self.config.data.val_files else ("train",):
            yield from self._split(split, reader)

    def _split(self, split: str, reader: ExampleReader) -> Iterator[CheckLine]:
        """Yield which of the first rows are learned; raise what the start would raise."""
        data, drops, key = self.config.data, reader.config.overlong == "drop", f"data.{split}_files"
        files, most = file_list(data[f"{split}_files"]), data[f"{split}_max_samples"]
        rows = first_rows(files)[: most if most >= 0 else None]
        found = list(reader.read(rows))
        left_out = [each for each in found if isinstance(each, LeftOut)]
        lengths = [each.tokens for each in found if isinstance(each, Example)]
        over = sum(length > data.max_length for length in lengths)
        if split == "train":
            self.lengths = [length for length in lengths if length <= data.max_length]
            self.shown = shown_examples(reader, rows, found, self.pairs)
        if left_out:
            why = f"of the first {len(rows)} rows are left out; {left_out[0].name}: {left_out[0].reason}."
            yield doubt("examples", f"{key}: {len(left_out)} {why}")
        if lengths:
            text = f"{key}: {min(lengths):,} to {max(lengths):,} tokens, data.max_length={data.max_length:,}"
            remedy = "Raise it." if drops else "Raise it, or leave them out: data.examples.overlong=drop."
            yield against(text, over, len(lengths), drops=drops, remedy=remedy)
        total = sum(pq.read_metadata(file).num_rows for file in files)
        given = total if most < 0 else min(total, most)
        require_batch(given - len(left_out) - over * drops, data.train_batch_size, split)

    def _disk(self) -> Iterator[CheckLine]:
        if self.settled and not self.elsewhere:
            yield from check_disk(self.config)

    def _memory(self) -> Iterator[CheckLine]:
        if self.settled:
            yield from check_memory(self.config, partial(sft_plan_of, self.config))

    def _seconds(self) -> Iterator[CheckLine]:
        if self.settled:
            yield from check_update_seconds(self.config, self.lengths)


def shown_examples(
    reader: ExampleReader, rows: Sequence[Row], found: Sequence[Example | LeftOut], number: int
) -> str:
    """Return the first examples as text: prompt, generation header, and the response that is learned."""
    header, _ = reader.context.headers()
    named = [(row_name(row, at), each) for at, (row, each) in enumerate(zip(rows, found, strict=True))]
    blocks = []
    for name, each in [(name, each) for name, each in named if isinstance(each, Example)][:number]:
        prompt, response = (reader.tokenizer.decode(ids) for ids in each)
        begins = block(f"{name}: the model reads", prompt, header)
        blocks.append(f"{begins}\n{response}\n=== here it ends; the loss is of the response alone")
    return "\n\n".join(blocks)
