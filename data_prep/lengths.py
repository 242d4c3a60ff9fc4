"""Lengths of the two prompts of a row, and the rows whose prompts are too long.

The prompts are rendered by the trainer's own code, so a row that fits here fits there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from data_prep.rows import Lengths, VerlRow
from data_prep.stages import Dropped
from verl_egrsd.config import TeacherConfig
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.control_tokens import ControlTokens

UNRENDERED = "the chat template does not render its prompts"


@cache
def training_settings() -> dict[str, Any]:
    """Return the settings that the package trains with, as written in `configs/egrsd.yaml`."""
    return yaml.safe_load(files("verl_egrsd").joinpath("configs/egrsd.yaml").read_text(encoding="utf-8"))


class PromptLengths:
    """Measures both prompts of each row and drops the rows that are too long.

    Args:
        tokenizer: the model's tokenizer with its chat template; None counts characters of the two user turns.
        template: the teacher's template, a name in `verl_egrsd.teacher.templates.TEMPLATES`.
        student_thinks: thinking flag of the student's chat template.
        teacher_thinks: thinking flag of the teacher's chat template.
        student_limit: longest prompt of the student, in tokens.
        teacher_limit: longest prompt of the teacher, in tokens.
        characters_per_token: converts the limits into characters when there is no tokenizer.

    Attributes:
        measured: the lengths of all measured rows, dropped rows included.
        limits: the two limits, in the unit of the lengths.
    """

    def __init__(
        self,
        tokenizer: Any | None,
        *,
        template: str,
        student_thinks: bool,
        teacher_thinks: bool,
        student_limit: int,
        teacher_limit: int,
        characters_per_token: int,
    ) -> None:
        teacher = TeacherConfig(template=template, enable_thinking=teacher_thinks)
        self._tokenizer = tokenizer
        self._context = PrivilegedContext.from_config(tokenizer, teacher, {"enable_thinking": student_thinks})
        scale = 1 if tokenizer else characters_per_token
        self.limits = Lengths(
            student=scale * student_limit,
            teacher=scale * teacher_limit,
            unit="tokens" if tokenizer else "characters",
        )
        self.measured: list[Lengths] = []

    @property
    def control_tokens(self) -> ControlTokens:
        """The control tokens of the tokenizer; well-known ones without a tokenizer."""
        return self._context.control_tokens

    def __call__(self, rows: Sequence[VerlRow]) -> list[VerlRow | Dropped]:
        """Return the rows of one batch with their lengths.

        A row becomes `Dropped` if a prompt is too long or the chat template does not render it.
        """
        prompts = [self._prompts(row) for row in rows]
        measured = self._measured([both for both in prompts if not isinstance(both, Dropped)])
        self.measured += measured
        rest = iter(measured)
        pairs = zip(rows, prompts, strict=True)
        return [both if isinstance(both, Dropped) else self._judge(row, next(rest)) for row, both in pairs]

    def _judge(self, row: VerlRow, lengths: Lengths) -> VerlRow | Dropped:
        for side in ("student", "teacher"):
            if lengths[side] > self.limits[side]:
                example = f"row {row['extra_info']['index']}: {lengths[side]:,} {lengths['unit']}"
                return Dropped(f"the {side}'s prompt is too long", example)
        return row | {"extra_info": row["extra_info"] | {"lengths": lengths}}

    def _prompts(self, row: VerlRow) -> tuple[str, str] | Dropped:
        """Return the student's and the teacher's prompt; without a tokenizer, the last turn of each."""
        context, messages = self._context, row["prompt"]
        if not self._tokenizer:
            return messages[-1]["content"], context.messages(messages, row)[-1]["content"]
        try:
            return context.student_prompt_text(messages), context.teacher_prompt_text(messages, row)
        except ValueError as error:
            return Dropped(UNRENDERED, f"row {row['extra_info']['index']}: {error}")

    def _measured(self, prompts: Sequence[tuple[str, str]]) -> list[Lengths]:
        sides = (self._sizes([both[side] for both in prompts]) for side in (0, 1))
        unit = self.limits["unit"]
        return [Lengths(student=s, teacher=t, unit=unit) for s, t in zip(*sides, strict=True)]

    def _sizes(self, texts: list[str]) -> list[int]:
        if not self._tokenizer or not texts:
            return [len(text) for text in texts]
        encoded = self._tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        return [len(ids) for ids in encoded["input_ids"]]
