"""A row gets its privileged context: the prompt ids that the teacher reads before the student's response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from verl_egrsd.config import TeacherConfig
from verl_egrsd.reward import opens_reasoning
from verl_egrsd.rows import Field, Message, Row, conversation, row_name, text_of
from verl_egrsd.teacher.control_tokens import ControlTokens
from verl_egrsd.teacher.prompt_end import prompt_end
from verl_egrsd.teacher.templates import Template, get_template

_USE = "the teacher's template shows it"
_OTHER = "drop the row, or choose another actor_rollout_ref.teacher.template"
REFERENCE_FIELDS = {
    "solution": Field("extra_info", "solution", _USE, _OTHER),
    "answer": Field("reward_model", "ground_truth", _USE, _OTHER),
}
"""Where a row keeps what a template shows."""
REMEMBERED = 256
"""Ends of prompts that are remembered: rows mostly share their system text, and few-shot turns need not."""
SHOWN = 60
"""Characters of a text that a message shows."""


@dataclass(frozen=True)
class PrivilegedContext:
    """Builds the teacher's prompt from the student's messages and the reference.

    The conversation is the student's, with the last user turn replaced by the template; so the two prompts
    differ in nothing but the privileged text and, where the thinking flags differ, what the chat template
    makes of them: the generation header, and in some templates the end of the user's turn or a system text.

    Text of the data is text: a control token in the reference is shown spelled (`< think>`), so that it marks
    nothing. The student's own messages are rendered as they are, since verl renders them for the rollout;
    control tokens in them are the data set's matter (`data.checks.control_tokens`).

    Attributes:
        tokenizer: tokenizer with the model's chat template.
        template: what is shown, and how.
        student_kwargs: chat template arguments of the student (`data.apply_chat_template_kwargs`).
        teacher_kwargs: the same with the teacher's thinking flag.
        header: "own" or "student": by whose arguments the privileged prompt is rendered. "student" leaves the
            privileged text as the only difference.
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

    @cached_property
    def control_tokens(self) -> ControlTokens:
        """The control tokens of tokenizer and chat template; the well-known ones without a tokenizer."""
        if self.tokenizer is None:
            return ControlTokens()
        turns = [_user("a"), {"role": "assistant", "content": "b"}, _user("c")]
        sides = (self.student_kwargs, self.teacher_kwargs)
        return ControlTokens.of(self.tokenizer, "".join(self._render(turns, kwargs) for kwargs in sides))

    def messages(self, student_messages: Sequence[Mapping[str, Any]], row: Row) -> list[Message]:
        """Return the teacher's messages.

        Args:
            student_messages: the student's conversation; text only, ending in a user turn.
            row: a row of the training data, with `extra_info.solution` and `reward_model.ground_truth`.

        Raises:
            ValueError: when the conversation does not end in a text user turn, or the reference is no text.
        """
        *earlier, last = conversation({**row, "prompt": student_messages}, "prompt", row_name(row))
        return [*earlier, last | {"content": self.template.fill(last["content"], self.reference(row))}]

    def reference(self, row: Row) -> str:
        """Return the privileged text of a row, "" for the template `none`; control tokens are spelled.

        Raises:
            ValueError: when the field is missing, empty or not a text, naming it.
        """
        if self.template.shows == "nothing":
            return ""
        return self.control_tokens.spelled(text_of(row, REFERENCE_FIELDS[self.template.shows], row_name(row)))

    def teacher_prompt_ids(self, student_messages: Sequence[Mapping[str, Any]], row: Row) -> list[int]:
        """Return the ids of the privileged prompt, generation header included."""
        return self._ids(self.teacher_prompt_text(student_messages, row))

    def teacher_prompt_text(self, student_messages: Sequence[Mapping[str, Any]], row: Row) -> str:
        """Return the privileged prompt as text, generation header included."""
        return self._prompt(self.messages(student_messages, row), self._teacher_side)

    def student_prompt_ids(self, student_messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the ids of the student's prompt, as the rollout must have used them."""
        return self._ids(self.student_prompt_text(student_messages))

    def student_prompt_text(self, student_messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the student's prompt as text, generation header included."""
        return self._prompt(student_messages, self.student_kwargs)

    def opens_reasoning(self, student_messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the student's prompt ends inside the reasoning, so that its response starts there."""
        return opens_reasoning(self.student_prompt_text(student_messages), student_messages[-1]["content"])

    def headers(self) -> tuple[str, str]:
        """Return the generation headers of student and teacher: what follows the user's turn.

        Where the two sides end that turn differently, its end is shown as part of the headers.

        Raises:
            ValueError: when the chat template does not end all prompts alike, or hides the user's text.
        """
        sides = (self.student_kwargs, self._teacher_side)
        student, teacher = (self._end((), kwargs) for kwargs in sides)
        closed = {self._turn_end(kwargs) for kwargs in sides}
        shared = closed.pop() if len(closed) == 1 else ""
        return student.removeprefix(shared) or student, teacher.removeprefix(shared) or teacher

    def as_of_yesterday(self) -> PrivilegedContext:
        """Return this context with yesterday's date, which some chat templates write."""
        clock = {"strftime_now": lambda form: (datetime.now() - timedelta(days=1)).strftime(form)}
        return replace(
            self,
            student_kwargs={**self.student_kwargs, **clock},
            teacher_kwargs={**self.teacher_kwargs, **clock},
        )

    @property
    def _teacher_side(self) -> Mapping[str, Any]:
        return self.student_kwargs if self.header == "student" else self.teacher_kwargs

    def _turn_end(self, kwargs: Mapping[str, Any]) -> str:
        """Return what closes the user's turn, without an end token that closes the whole conversation."""
        closed = self._end((), kwargs, header=False)
        is_start = self._end((), kwargs).startswith(closed)
        return closed if is_start else closed.removesuffix(self.tokenizer.eos_token or "")

    def _prompt(self, messages: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any]) -> str:
        """Render a prompt; the text of its last turn must be in it, up to white space that templates trim."""
        text, last = self._render(messages, kwargs), messages[-1]["content"]
        end = self._end(messages[:-1], kwargs)
        shown, meant = ("".join(part.split()) for part in (text.removesuffix(end), last))
        if not text.endswith(end) or not shown.endswith(meant):
            raise ValueError(
                f"the chat template takes a part of the text for an instruction: the prompt ends in "
                f"{text[-SHOWN:]!r}, not in the text {last[-SHOWN:]!r} and {end!r}. Rewrite or drop the row."
            )
        return text

    def _end(
        self, earlier: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any], *, header: bool = True
    ) -> str:
        """Return what follows the last user turn's text, by the turns before it."""
        key = (id(kwargs), header, *(tuple(turn.items()) for turn in earlier))
        if key not in self._ends:
            if len(self._ends) >= REMEMBERED:
                self._ends.clear()
            self._ends[key] = prompt_end(
                lambda text: self._render([*earlier, _user(text)], kwargs, header=header)
            )
        return self._ends[key]

    @cached_property
    def _ends(self) -> dict[tuple[Any, ...], str]:
        return {}

    def _render(
        self, messages: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any], *, header: bool = True
    ) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=header,
                **kwargs,
            )
        except (TemplateError, TypeError) as error:  # templates loop over tools that are not there
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ValueError(
                f"the model's chat template does not render a conversation of {roles}: {error}. Move what "
                "another role says into the user's turn, or use another chat template."
            ) from error

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
