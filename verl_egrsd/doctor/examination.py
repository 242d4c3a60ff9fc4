"""All checks of a training, in the order in which a person wants to read them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Generic, TypeVar

from omegaconf import DictConfig

from verl_egrsd.checkpoints.resume import nothing_to_do, settle_start
from verl_egrsd.config import TeacherConfig
from verl_egrsd.cost.settings import plan_of
from verl_egrsd.doctor.cluster import check_cluster
from verl_egrsd.doctor.installed import FreshProcess, check_versions
from verl_egrsd.doctor.lengths import LengthsRead, check_thinking, compare_lengths
from verl_egrsd.doctor.lines import CheckLine, answers, doubt, wrong
from verl_egrsd.doctor.machine import check_disk, check_gpus, check_memory, check_seconds
from verl_egrsd.doctor.prompts import (
    first_rows,
    load_tokenizer,
    read_pairs,
    shown_pairs,
)
from verl_egrsd.main import check, require_model
from verl_egrsd.methods import Method
from verl_egrsd.output.run_folders import require_output
from verl_egrsd.preflight import check_files
from verl_egrsd.preflight.reading import VERIFIER, model_section
from verl_egrsd.watch.ports import require_free_ports

USUAL_PROMPT, USUAL_PRIVILEGED = 200.0, 1_000.0
"""Tokens that a step is predicted for where no row was read: those of docs/performance.md."""


NamedCheck = tuple[str, Callable[[], Iterator[CheckLine]]]
"""A check with a word about it, which marks a refusal that it raises."""
Settled = TypeVar("Settled")


class Examination(ABC, Generic[Settled]):
    """The checks of a run, in the order in which they are printed.

    Args:
        config: the composed configuration; the checks settle its values.
        fresh: a fresh process that was started before.
        elsewhere: whether the run is for another machine, whose GPUs, disk and folders are not asked here.
        pairs: rows whose prompts are shown.

    Attributes:
        settled: what the checks of the settings return; None if they refuse one.
        shown: the first rows as text.
    """

    def __init__(self, config: DictConfig, fresh: FreshProcess, *, elsewhere: bool, pairs: int) -> None:
        self.config, self.fresh, self.elsewhere, self.pairs = config, fresh, elsewhere, pairs
        self.settled: Settled | None = None
        self.files_found = False
        self.shown = ""

    @abstractmethod
    def checks(self) -> list[NamedCheck]:
        """Return the checks in their order."""

    def findings(self) -> Iterator[CheckLine]:
        """Yield all findings; a check whose ground is missing is left out."""
        for about, found in self.checks():
            yield from answers(about, found)

    def settings(self, check_settings: Callable[[DictConfig], Settled]) -> Iterator[CheckLine]:
        """Yield what is to say about the settings."""
        with Remarks() as heard:
            require_model(self.config)
            self.settled = check_settings(self.config)
        yield from (doubt("settings", text) for text in heard)

    def files(self, check_named: Callable[[DictConfig], None]) -> Iterator[CheckLine]:
        """Yield whether everything is there that the configuration names."""
        if not model_section(self.config).path:
            return
        with Remarks() as heard:
            check_named(self.config)
        self.files_found = True
        yield from (wrong("files", text) for text in heard)
        if not heard:
            yield CheckLine("files", "the data, the model and the functions that are named exist")

    def folders(self) -> Iterator[CheckLine]:
        """Yield whether the run can write to its folders."""
        if self.settled and not self.elsewhere:
            require_output(self.config)
            yield CheckLine("folders", "the run can write to its folders, and no other run does")

    def start(self) -> Iterator[CheckLine]:
        """Yield where the run starts."""
        if self.settled is None or not self.files_found or self.elsewhere:
            return
        trainer = self.config.trainer
        with Remarks() as heard:
            start = settle_start(self.config)
        yield from (doubt("start", text) for text in heard)
        if (done := nothing_to_do(start, trainer.total_training_steps)) and not trainer.get("val_only"):
            yield doubt("start", done)
        else:
            where = f"the run goes on from {start.checkpoint}" if start.checkpoint else "the run starts anew"
            yield CheckLine("start", where)

    def gpus(self) -> Iterator[CheckLine]:
        """Yield GPUs found against GPUs asked."""
        if self.settled:
            yield from check_gpus(self.config, elsewhere=self.elsewhere)


class TrainingExamination(Examination[tuple[Method, TeacherConfig]]):
    """The checks of a training by rollouts."""

    lengths: LengthsRead | None = None

    def checks(self) -> list[NamedCheck]:
        """Return the checks in their order."""
        return [
            ("versions", check_versions),
            ("settings", self._settings),
            ("files", partial(self.files, check_files)),
            ("folders", self.folders),
            ("start", self.start),
            ("GPUs", self.gpus),
            ("nodes", self._nodes),
            ("prompts", self._prompts),
            ("verifier", self._verifier),
            ("disk", self._disk),
            ("memory", self._memory),
            ("seconds", self._seconds),
            ("plug-in", self.fresh.findings),
        ]

    def _settings(self) -> Iterator[CheckLine]:
        yield from self.settings(check)
        assert self.settled is not None
        name = self.settled[0].name
        yield CheckLine("settings", f"{self.config.trainer.experiment_name}: method {name}")
        yield from check_thinking(self.config)

    def _nodes(self) -> Iterator[CheckLine]:
        if self.settled and not self.elsewhere:
            require_free_ports(self.config)
            yield from check_cluster(self.config)

    def _prompts(self) -> Iterator[CheckLine]:
        rows = first_rows(self.config.data.train_files)
        if self.settled is None or not rows:
            return
        tokenizer = load_tokenizer(self.config)
        if tokenizer is None:
            yield doubt("prompts", "not shown and not measured: the tokenizer is not on this machine.")
            return
        method, teacher = self.settled
        context, pairs, self.lengths = read_pairs(self.config, method, teacher, tokenizer, rows)
        self.shown = shown_pairs(context, pairs[: self.pairs])
        yield from compare_lengths(self.config, teacher, self.lengths)

    def _verifier(self) -> Iterator[CheckLine]:
        if self.config.reward.custom_reward_function.path != VERIFIER:
            yield CheckLine("verifier", "your own reward function; the trainer guards it (scores)")
            return
        from verl_egrsd.reward.selftest import self_test

        self_test()
        yield CheckLine("verifier", "its self-test passes")

    def _disk(self) -> Iterator[CheckLine]:
        if self.settled and not self.elsewhere:
            yield from check_disk(self.config, moving=self.settled[1].moves)

    def _memory(self) -> Iterator[CheckLine]:
        if self.settled:
            yield from check_memory(self.config, partial(plan_of, self.config, *self.settled))

    def _seconds(self) -> Iterator[CheckLine]:
        if self.settled:
            prompt, privileged = USUAL_PROMPT, USUAL_PRIVILEGED
            if self.lengths:
                prompt = sum(self.lengths.student) / len(self.lengths.student)
                privileged = self.lengths.privileged
            yield from check_seconds(self.config, *self.settled, prompt, privileged)


class Remarks(logging.Handler):
    """Collects what this package warns of while a block runs, in place of the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning as text."""
        self.heard.append(record.getMessage())

    def __enter__(self) -> list[str]:
        ours = logging.getLogger("verl_egrsd")
        ours.addHandler(self)
        self._propagated, ours.propagate = ours.propagate, False
        return self.heard

    def __exit__(self, *_: object) -> None:
        ours = logging.getLogger("verl_egrsd")
        ours.removeHandler(self)
        ours.propagate = self._propagated
