"""Renders a conversation as a prompt, with one side's arguments of the chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from verl_egrsd.rows import Message
from verl_egrsd.teacher.prompt_end import prompt_end

REMEMBERED = 256
"""Number of cached prompt ends. Rows mostly share their system text, but few-shot turns may differ."""
SHOWN = 60
"""Characters of a text that a message shows."""


@dataclass(frozen=True)
class Renderer:
    """Renders the prompts of one side.

    Attributes:
        tokenizer: tokenizer with the model's chat template.
        kwargs: arguments of the chat template.
    """

    tokenizer: Any
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return a prompt, generation header included.

        Raises:
            ValueError: unless the text of its last turn is in it, up to white space that templates trim.
        """
        text, last = self.text(messages), messages[-1]["content"]
        end = self.end(messages[:-1])
        shown, meant = ("".join(part.split()) for part in (text.removesuffix(end), last))
        if not text.endswith(end) or not shown.endswith(meant):
            raise ValueError(
                f"the chat template reads a part of the text as an instruction: the prompt ends in "
                f"{text[-SHOWN:]!r}, not in the text {last[-SHOWN:]!r} and {end!r}. Rewrite or drop the row."
            )
        return text

    def end(self, earlier: Sequence[Mapping[str, Any]] = (), *, header: bool = True) -> str:
        """Return the text after the last user turn, given the turns before it.

        Raises:
            ValueError: when the chat template does not end all prompts alike, or hides the user's text.
        """
        key = (header, *(tuple(turn.items()) for turn in earlier))
        if key not in self._ends:
            if len(self._ends) >= REMEMBERED:
                self._ends.clear()
            self._ends[key] = prompt_end(lambda text: self.text([*earlier, user(text)], header=header))
        return self._ends[key]

    def turn_end(self) -> str:
        """Return the text that closes the user's turn, without an end token that closes the conversation."""
        closed = self.end(header=False)
        is_start = self.end().startswith(closed)
        return closed if is_start else closed.removesuffix(self.tokenizer.eos_token or "")

    def text(self, messages: Sequence[Mapping[str, Any]], *, header: bool = True) -> str:
        """Return a conversation as the chat template writes it, with or without the generation header.

        Raises:
            ValueError: when the template refuses it; the message has the roles and the template's own error.
        """
        try:
            return self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=header,
                **self.kwargs,
            )
        except (TemplateError, TypeError) as error:  # some templates loop over tools that are missing
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ValueError(
                f"the model's chat template does not render a conversation of {roles}: {error}. Move the "
                "text of other roles into the user's turn, or use another chat template."
            ) from error

    @cached_property
    def _ends(self) -> dict[tuple[Any, ...], str]:
        return {}


def headers(student: Renderer, teacher: Renderer) -> tuple[str, str]:
    """Return the generation headers of two sides: the text after the user's turn.

    If the two sides end that turn differently, its end is part of the headers.

    Raises:
        ValueError: when the chat template does not end all prompts alike, or hides the user's text.
    """
    ends = student.end(), teacher.end()
    closed = {side.turn_end() for side in (student, teacher)}
    shared = closed.pop() if len(closed) == 1 else ""
    return ends[0].removeprefix(shared) or ends[0], ends[1].removeprefix(shared) or ends[1]


def user(text: str) -> Message:
    """Return a user turn."""
    return {"role": "user", "content": text}
