"""The training data, every row checked before the first rollout: nothing is truncated, nothing is empty."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import datasets
from omegaconf import DictConfig
from tqdm import tqdm
from verl.utils.dataset.rl_dataset import RLHFDataset, get_dataset_class

from verl_egrsd.config import TeacherConfig, build
from verl_egrsd.preflight import plain
from verl_egrsd.reward import PROMPT_OPENS_REASONING
from verl_egrsd.teacher.context import REFERENCE_COLUMNS, PrivilegedContext
from verl_egrsd.teacher.templates import get_template

logger = logging.getLogger(__name__)

ROWS_PER_CALL = 256


class Overlong(NamedTuple):
    """A row that was left out: which prompt was too long, and by how much (tokens)."""

    index: Any
    prompt: str
    length: int
    limit: int


class PrivilegedDataset(RLHFDataset):
    """verl's data set, plus the checks that cannot wait until a row is sampled.

    The student's prompt must fit `data.max_prompt_length` (verl would cut it on the left; with
    `data.filter_overlong_prompts` such rows are left out). In the training files, the privileged prompt must
    exist, be filled, and fit `actor_rollout_ref.teacher.max_prompt_length`. `dropped` lists what is left out.

    The trainer hands the teacher's settings over as `data.egrsd_teacher` (null: no teacher is scored).
    """

    def maybe_filter_out_long_prompts(self, dataframe: datasets.Dataset = None) -> datasets.Dataset:
        """Check every row; return those that are kept.

        Raises:
            ValueError: for a missing column, an image, an empty reference or an overlong prompt, unless
                dropping overlong prompts is the user's stated choice.
        """
        self.dropped: list[Overlong] = []
        _refuse_media(dataframe, (self.image_key, self.video_key, self.audio_key))
        is_training = list(self.original_data_files) == _as_list(self.config.train_files)
        settings = self.config.get("egrsd_teacher") if is_training else None
        teacher = None if settings is None else build(TeacherConfig, settings, "actor_rollout_ref.teacher")
        if teacher is not None:
            _require_reference_column(dataframe, teacher)
        context = PrivilegedContext.from_config(
            self.tokenizer,
            teacher or TeacherConfig(template="none"),
            plain(self.apply_chat_template_kwargs),
        )
        self.context = context
        kept = [index for index, overlong in self._measured(dataframe, context, teacher) if overlong is None]
        self._report(len(dataframe))
        return dataframe.select(kept)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return verl's row, whose `extra_info` now says whether the prompt opens the reasoning."""
        row = super().__getitem__(item)
        row["extra_info"][PROMPT_OPENS_REASONING] = self.context.opens_reasoning(row["raw_prompt"])
        return row

    def _measured(
        self, dataframe: datasets.Dataset, context: PrivilegedContext, teacher: TeacherConfig | None
    ) -> Iterator[tuple[int, Overlong | None]]:
        """Yield each row's position and, where a prompt is too long, the excess."""
        progress = tqdm(total=len(dataframe), desc="Checking prompts", unit="row")
        for start in range(0, len(dataframe), ROWS_PER_CALL):
            rows = [dataframe[i] for i in range(start, min(start + ROWS_PER_CALL, len(dataframe)))]
            student = self._lengths([context.student_prompt_text(row[self.prompt_key]) for row in rows])
            privileged = (
                [0] * len(rows)
                if teacher is None
                else self._lengths([context.teacher_prompt_text(row[self.prompt_key], row) for row in rows])
            )
            for offset, row in enumerate(rows):
                overlong = self._judge(row, student[offset], privileged[offset], teacher)
                yield start + offset, overlong
            progress.update(len(rows))
        progress.close()

    def _judge(
        self, row: dict[str, Any], student: int, privileged: int, teacher: TeacherConfig | None
    ) -> Overlong | None:
        index = (row.get("extra_info") or {}).get("index", "?")
        overlong = None
        if student > self.max_prompt_length:
            overlong = Overlong(index, "student", student, self.max_prompt_length)
            if not self.filter_overlong_prompts:
                raise ValueError(
                    f"the student's prompt of row {index} has {student} tokens, "
                    f"data.max_prompt_length={self.max_prompt_length}: raise it, or set "
                    "data.filter_overlong_prompts=True to leave such rows out."
                )
        elif teacher is not None and privileged > teacher.max_prompt_length:
            overlong = Overlong(index, "teacher", privileged, teacher.max_prompt_length)
            if teacher.overlong == "error":
                raise ValueError(
                    f"the privileged prompt of row {index} has {privileged} tokens, "
                    f"actor_rollout_ref.teacher.max_prompt_length={teacher.max_prompt_length}: raise it, or "
                    "set actor_rollout_ref.teacher.overlong=drop to leave such rows out."
                )
        if overlong is not None:
            self.dropped.append(overlong)
        return overlong

    def _lengths(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def _report(self, total: int) -> None:
        for row in self.dropped:
            logger.warning("left out: row %s, %s prompt of %d tokens (limit %d)", *row)
        if self.dropped:
            logger.warning("%d of %d rows left out because a prompt is too long", len(self.dropped), total)


def _as_list(files: Any) -> list[str]:
    return [files] if isinstance(files, str) else list(files)


def _refuse_media(dataframe: datasets.Dataset, keys: tuple[str, ...]) -> None:
    for key in set(keys) & set(dataframe.column_names):
        if any(dataframe[key]):
            raise ValueError(
                f"column {key!r} holds media: EGRSD trains on text; remove the column or those rows."
            )


def _require_reference_column(dataframe: datasets.Dataset, teacher: TeacherConfig) -> None:
    shows = get_template(teacher.template).shows
    if shows == "nothing":
        return
    outer, inner = REFERENCE_COLUMNS[shows]
    feature = dataframe.features.get(outer)
    if feature is None or inner not in feature:
        found = [
            f"{name}.{key}" for name, f in dataframe.features.items() if isinstance(f, dict) for key in f
        ]
        plain = [name for name, f in dataframe.features.items() if not isinstance(f, dict)]
        raise ValueError(
            f"the training parquet has no {outer}.{inner}, which the teacher's template {teacher.template!r} "
            f"shows; columns found: {', '.join(plain + found)}. Write it with data_prep, or rename your "
            "column."
        )


def use_privileged_dataset(config: DictConfig) -> None:
    """Have verl build our data set, through the setting that it has for that."""
    custom = config.data.custom_cls
    if custom.path is None:
        custom.path, custom.name = "pkg://verl_egrsd.trainer.dataset", PrivilegedDataset.__name__
        return
    if not issubclass(get_dataset_class(config.data), PrivilegedDataset):
        raise ValueError(
            f"data.custom_cls={custom.path}:{custom.name} does not check the privileged prompts: derive it "
            "from verl_egrsd.trainer.dataset.PrivilegedDataset."
        )
