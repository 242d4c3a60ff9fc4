"""Builds the privileged prompt of a row: the ids that the teacher reads before the student's response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from verl_egrsd.config import TeacherConfig
from verl_egrsd.reward import opens_reasoning
from verl_egrsd.rows import Message, Row, conversation, row_name, text_of
from verl_egrsd.teacher.attempts import Attempts, shortened
from verl_egrsd.teacher.control_tokens import ControlTokens
from verl_egrsd.teacher.marks import ROLLOUT_MARKS, SHOWN_ROLLOUTS, field_of
from verl_egrsd.teacher.placebo import OTHER_SOLUTION, shuffled_words
from verl_egrsd.teacher.rendering import Renderer, headers, user
from verl_egrsd.teacher.steering import STEERING_TEMPLATE
from verl_egrsd.teacher.templates import Template, get_template

SEAMS = 16
"""Tokens that a rollout may add beyond its own: text at the borders to the template is tokenized anew."""


class TeacherPrompt(NamedTuple):
    """A privileged prompt, and how it was built.

    Attributes:
        text: the prompt, generation header included.
        shortened: whether the middle of a rollout was cut out.
        without_sibling: whether `teacher.without_sibling` gave the template, because no other rollout was
            correct.
    """

    text: str
    shortened: bool = False
    without_sibling: bool = False


@dataclass(frozen=True)
class PrivilegedContext:
    """Builds the teacher's prompt from the student's messages and the privileged text of the template.

    The conversation is the student's, with the last user turn replaced by the template. So the two prompts
    differ in the privileged text only. If the thinking flags differ, the chat template may also change the
    generation header and, in some models, the end of the user's turn or a system text.

    Control tokens in privileged text are spelled (`< think>`), so that the tokenizer reads them as text. The
    student's own messages are rendered unchanged, because verl renders them for the rollout. The data set
    checks them for control tokens (`data.checks.control_tokens`).

    Attributes:
        tokenizer: tokenizer with the model's chat template.
        template: the template of the teacher's user turn.
        student_kwargs: chat template arguments of the student (`data.apply_chat_template_kwargs`).
        teacher_kwargs: the same with the teacher's thinking flag.
        header: "own" or "student": whose arguments render the privileged prompt. With "student" the
            privileged text is the only difference.
        max_rollout_tokens: longest rollout in a prompt, in tokens; a longer one loses its middle. None sets
            no limit.
        placebo_seed: seed of the shuffled solution.
        without_sibling: the context that replaces this one if its template shows a sibling and no other
            rollout is correct.
        steering: the context of the prompts that steer the teacher; None without steering.
    """

    tokenizer: Any
    template: Template
    student_kwargs: Mapping[str, Any] = field(default_factory=dict)
    teacher_kwargs: Mapping[str, Any] = field(default_factory=dict)
    header: str = "own"
    max_rollout_tokens: int | None = None
    placebo_seed: int = 0
    without_sibling: PrivilegedContext | None = None
    steering: PrivilegedContext | None = None

    @classmethod
    def from_config(
        cls, tokenizer: Any, config: TeacherConfig, student_kwargs: Mapping[str, Any] | None = None
    ) -> PrivilegedContext:
        """Build the context of a training run from its settings."""
        student = dict(student_kwargs or {})
        thinking = {} if config.enable_thinking is None else {"enable_thinking": config.enable_thinking}
        context = cls(
            tokenizer,
            get_template(config.template, config.template_text),
            student,
            student | thinking,
            config.header,
            config.max_rollout_tokens,
            config.placebo_seed,
        )
        if config.steering is not None:
            context = replace(context, steering=replace(context, template=get_template(STEERING_TEMPLATE)))
        if "sibling" not in context.template.marks:
            return context
        fallback = replace(context, template=get_template(config.without_sibling))
        return replace(context, without_sibling=fallback)

    @property
    def alternatives(self) -> list[PrivilegedContext]:
        """This context, the one that replaces it without a sibling, and that of the prompts that steer it."""
        return [self, *(other for other in (self.without_sibling, self.steering) if other is not None)]

    @property
    def reads_rollouts(self) -> bool:
        """Whether the teacher's own prompt differs between the rollouts of a problem."""
        own = filter(None, (self, self.without_sibling))
        return any(context.template.reads_rollouts for context in own)

    @cached_property
    def control_tokens(self) -> ControlTokens:
        """The control tokens of tokenizer and chat template; the well-known ones without a tokenizer."""
        if self.tokenizer is None:
            return ControlTokens()
        turns = [user("a"), {"role": "assistant", "content": "b"}, user("c")]
        sides = (self.student_kwargs, self.teacher_kwargs)
        rendered = [Renderer(self.tokenizer, kwargs).text(turns) for kwargs in sides]
        return ControlTokens.of(self.tokenizer, "".join(rendered))

    def messages(
        self, student_messages: Sequence[Mapping[str, Any]], row: Row, rollouts: Attempts | None = None
    ) -> list[Message]:
        """Return the teacher's messages.

        Args:
            student_messages: the student's conversation; text only, ending in a user turn.
            row: a row of the training data, with the fields that the template names.
            rollouts: the rollouts of the prompt, if the template shows any.

        Raises:
            ValueError: when the conversation does not end in a user turn of text, when a field is not text,
                or when a rollout is missing.
        """
        return self._messages(student_messages, row, rollouts)[0]

    def teacher_prompt(
        self, student_messages: Sequence[Mapping[str, Any]], row: Row, rollouts: Attempts | None = None
    ) -> TeacherPrompt:
        """Return the privileged prompt of a rollout; arguments and errors as :meth:`messages`."""
        if self.without_sibling is not None and rollouts is not None and rollouts.sibling is None:
            prompt = self.without_sibling.teacher_prompt(student_messages, row, rollouts)
            return prompt._replace(without_sibling=True)
        messages, is_shortened = self._messages(student_messages, row, rollouts)
        return TeacherPrompt(self._teacher.prompt(messages), is_shortened)

    def teacher_prompt_text(
        self, student_messages: Sequence[Mapping[str, Any]], row: Row, rollouts: Attempts | None = None
    ) -> str:
        """Return the privileged prompt as text, generation header included."""
        return self.teacher_prompt(student_messages, row, rollouts).text

    def teacher_prompt_ids(
        self, student_messages: Sequence[Mapping[str, Any]], row: Row, rollouts: Attempts | None = None
    ) -> list[int]:
        """Return the ids of the privileged prompt, generation header included."""
        return self.ids(self.teacher_prompt_text(student_messages, row, rollouts))

    @property
    def reserved(self) -> int:
        """Largest number of tokens that rollouts add to a prompt that was built with `EMPTY_ATTEMPTS`."""
        return self.template.rollouts_shown * ((self.max_rollout_tokens or 0) + SEAMS)

    def student_prompt_ids(self, student_messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the ids of the student's prompt, which the rollout must have used."""
        return self.ids(self.student_prompt_text(student_messages))

    def student_prompt_text(self, student_messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the student's prompt as text, generation header included."""
        return self._student.prompt(student_messages)

    def opens_reasoning(self, student_messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the student's prompt ends inside the reasoning, so that its response starts there."""
        return opens_reasoning(self.student_prompt_text(student_messages), student_messages[-1]["content"])

    def headers(self) -> tuple[str, str]:
        """Return the generation headers of student and teacher: the text after the user's turn."""
        return headers(self._student, self._teacher)

    def as_of_yesterday(self) -> PrivilegedContext:
        """Return this context with yesterday's date, for chat templates that write the date."""
        clock = {"strftime_now": lambda form: (datetime.now() - timedelta(days=1)).strftime(form)}
        return replace(
            self,
            student_kwargs={**self.student_kwargs, **clock},
            teacher_kwargs={**self.teacher_kwargs, **clock},
            without_sibling=self.without_sibling and self.without_sibling.as_of_yesterday(),
            steering=self.steering and self.steering.as_of_yesterday(),
        )

    def ids(self, text: str) -> list[int]:
        """Return the ids of a prompt."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @cached_property
    def _student(self) -> Renderer:
        return Renderer(self.tokenizer, self.student_kwargs)

    @cached_property
    def _teacher(self) -> Renderer:
        kwargs = self.student_kwargs if self.header == "student" else self.teacher_kwargs
        return Renderer(self.tokenizer, kwargs)

    def _messages(
        self, student_messages: Sequence[Mapping[str, Any]], row: Row, rollouts: Attempts | None
    ) -> tuple[list[Message], bool]:
        """Return the teacher's messages, and whether the middle of a rollout was cut out."""
        *earlier, last = conversation({**row, "prompt": student_messages}, "prompt", row_name(row))
        texts, is_shortened = {"task": last["content"]}, False
        for mark in self.template.marks:
            text = self.control_tokens.spelled(self._text(mark, row, rollouts))
            if mark in SHOWN_ROLLOUTS:
                text, lost = shortened(text, self.max_rollout_tokens, self.tokenizer)
                is_shortened |= lost
            texts[mark] = text
        return [*earlier, last | {"content": self.template.fill(texts)}], is_shortened

    def _text(self, mark: str, row: Row, rollouts: Attempts | None) -> str:
        """Return the text for a mark, before control tokens are spelled."""
        if mark in ROLLOUT_MARKS:
            if rollouts is None:
                raise ValueError(f"the template shows <<{mark}>>, and no rollout was given.")
            return rollouts.text(mark)
        if mark == "wrong_solution":
            return text_of(row, OTHER_SOLUTION, row_name(row))
        text = text_of(row, field_of(mark), row_name(row))
        return shuffled_words(text, self.placebo_seed) if mark == "shuffled_solution" else text
