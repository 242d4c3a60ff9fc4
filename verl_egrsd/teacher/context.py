"""A row gets its privileged context: the prompt ids that the teacher reads before the student's response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verl_egrsd.config import TeacherConfig
from verl_egrsd.reward import opens_reasoning
from verl_egrsd.teacher.templates import Template, get_template

Message = Mapping[str, Any]

REFERENCE_COLUMNS = {"solution": ("extra_info", "solution"), "answer": ("reward_model", "ground_truth")}
"""Where a row keeps what a template shows."""


@dataclass(frozen=True)
class PrivilegedContext:
    """Builds the teacher's prompt from the student's messages and the reference.

    The conversation is the student's, with the last user turn replaced by the template; so the two prompts
    differ in nothing but the privileged text and, where the thinking flags differ, the generation header.

    Attributes:
        tokenizer: tokenizer with the model's chat template.
        template: what is shown, and how.
        student_kwargs: chat template arguments of the student (`data.apply_chat_template_kwargs`).
        teacher_kwargs: the same with the teacher's thinking flag.
        header: "own" or "student": whose generation header follows the privileged prompt.
    """

    tokenizer: Any
    template: Template
    student_kwargs: Mapping[str, Any] = field(default_factory=dict)
    teacher_kwargs: Mapping[str, Any] = field(default_factory=dict)
    header: str = "own"

    @classmethod
    def from_config(
        cls, tokenizer: Any, config: TeacherConfig, student_kwargs: Mapping[str, Any] | None = None
    ) -> PrivilegedContext:
        """Build the context of a training run from its settings."""
        student = dict(student_kwargs or {})
        thinking = {} if config.enable_thinking is None else {"enable_thinking": config.enable_thinking}
        return cls(tokenizer, get_template(config.template), student, student | thinking, config.header)

    def messages(self, student_messages: Sequence[Message], row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the teacher's messages.

        Args:
            student_messages: the student's conversation; text only, ending in a user turn.
            row: a row of the training data, with `extra_info.solution` and `reward_model.ground_truth`.

        Raises:
            ValueError: when the conversation does not end in a text user turn, or the reference is empty.
        """
        *earlier, last = (dict(message) for message in student_messages)
        if last["role"] != "user" or not isinstance(last["content"], str):
            raise ValueError(
                f"prompt of {_name(row)} must end in a user turn of plain text, found role {last['role']!r} "
                f"with content of type {type(last['content']).__name__}: images and multi-turn prompts are "
                "not supported."
            )
        return [*earlier, last | {"content": self.template.fill(last["content"], self.reference(row))}]

    def reference(self, row: Mapping[str, Any]) -> str:
        """Return the privileged text of a row, "" for the template `none`.

        Raises:
            ValueError: when the field is missing or empty, naming it.
        """
        if self.template.shows == "nothing":
            return ""
        outer, inner = REFERENCE_COLUMNS[self.template.shows]
        value = (row.get(outer) or {}).get(inner)
        if value is None or not str(value).strip():
            raise ValueError(
                f"{outer}.{inner} of {_name(row)} is {value!r}, but the teacher's template shows it. Fill "
                "the column (data_prep writes it), drop the row, or choose another "
                "actor_rollout_ref.teacher.template."
            )
        return str(value)

    def teacher_prompt_ids(self, student_messages: Sequence[Message], row: Mapping[str, Any]) -> list[int]:
        """Return the ids of the privileged prompt, generation header included."""
        return self._ids(self.teacher_prompt_text(student_messages, row))

    def teacher_prompt_text(self, student_messages: Sequence[Message], row: Mapping[str, Any]) -> str:
        """Return the privileged prompt as text, generation header included."""
        messages = self.messages(student_messages, row)
        if self.header == "own":
            return self._render(messages, self.teacher_kwargs, header=True)
        return self._render(messages, self.teacher_kwargs, header=False) + self._header(self.student_kwargs)

    def student_prompt_ids(self, student_messages: Sequence[Message]) -> list[int]:
        """Return the ids of the student's prompt, as the rollout must have used them."""
        return self._ids(self.student_prompt_text(student_messages))

    def student_prompt_text(self, student_messages: Sequence[Message]) -> str:
        """Return the student's prompt as text, generation header included."""
        return self._render(student_messages, self.student_kwargs, header=True)

    def opens_reasoning(self, student_messages: Sequence[Message]) -> bool:
        """Whether the student's prompt ends inside the reasoning, so that its response starts there."""
        return opens_reasoning(self.student_prompt_text(student_messages), student_messages[-1]["content"])

    def headers(self) -> tuple[str, str]:
        """Return the generation headers of student and teacher, as text."""
        student = self._header(self.student_kwargs)
        return student, student if self.header == "student" else self._header(self.teacher_kwargs)

    def _header(self, kwargs: Mapping[str, Any]) -> str:
        probe = [{"role": "user", "content": "x"}]
        return self._render(probe, kwargs, header=True).removeprefix(
            self._render(probe, kwargs, header=False)
        )

    def _render(self, messages: Sequence[Message], kwargs: Mapping[str, Any], *, header: bool) -> str:
        return self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=header, **kwargs
        )

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _name(row: Mapping[str, Any]) -> str:
    index = (row.get("extra_info") or {}).get("index", "?")
    return f"row {index} of {row.get('data_source', 'the training data')}"
