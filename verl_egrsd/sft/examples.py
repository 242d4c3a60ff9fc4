"""A row becomes tokens: the student's prompt, as in training, and the response that is learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from verl_egrsd.reward.reasoning import REASONING_MARK
from verl_egrsd.rows import Row, conversation, row_name, structure, text_of
from verl_egrsd.sft.settings import ExampleConfig
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.prompt_end import prompt_end
from verl_egrsd.teacher.rendering import Renderer, user
from verl_egrsd.teacher.templates import get_template

TRUNCATED, THINKING = "truncated", "thinking"
"""Fields of `extra_info` of a sample: whether it was cut, and the thinking flag that it was drawn with."""


class Example(NamedTuple):
    """A row in tokens.

    Attributes:
        prompt: ids up to the end of the generation header; nothing of it is learned.
        response: ids that are learned, the end of the turn included.
    """

    prompt: list[int]
    response: list[int]

    @property
    def tokens(self) -> int:
        """Tokens of both."""
        return len(self.prompt) + len(self.response)


class LeftOut(NamedTuple):
    """A row that is not learned, and why."""

    name: str
    reason: str


class _Texts(NamedTuple):
    name: str
    messages: str
    prompt: str
    response: str
    has_end: bool


class ExampleReader:
    """Reads rows by one tokenizer and one set of chat template arguments.

    Args:
        tokenizer: with the model's chat template.
        config: what is learned, and what happens to rows that do not fit.
        chat: arguments of the chat template (`data.apply_chat_template_kwargs`).
        max_length: most tokens of an example (`data.max_length`).
    """

    def __init__(
        self, tokenizer: Any, config: ExampleConfig, chat: Mapping[str, Any], max_length: int
    ) -> None:
        self.tokenizer, self.config, self.chat, self.max_length = tokenizer, config, chat, max_length
        self.context = PrivilegedContext(tokenizer, get_template("none"), chat)
        self.end = turn_end(tokenizer, chat)

    def read(self, rows: Sequence[Row]) -> Iterator[Example | LeftOut]:
        """Yield the example of each row, or why it is left out.

        Raises:
            ValueError: for a row whose prompt is not a conversation or whose response is not a text, for a
                sample that was drawn with another thinking flag, and for a row that does not fit unless
                dropping it is the user's choice; names the row.
        """
        texts = [self._texts(row, position) for position, row in enumerate(rows)]
        prompts = self._ids([text.prompt for text in texts])
        responses = self._ids([text.response for text in texts])
        for text, prompt, response in zip(texts, prompts, responses, strict=True):
            example = Example(prompt, [*response, self.end] if text.has_end else response)
            yield self._marked(text) or self._overlong(text.name, example) or example

    def _texts(self, row: Row, position: int) -> _Texts:
        name = row_name(row, position)
        messages = conversation(row, "prompt", name)
        try:
            prompt = self.context.student_prompt_text(messages)
        except ValueError as error:
            raise ValueError(f"prompt of {name}: {error}") from error
        extra = structure(row, "extra_info", name)
        self._check_thinking(extra.get(THINKING), name)
        said = "\n".join(message["content"] for message in messages)
        response = text_of(row, self.config.field, name)
        return _Texts(name, said, prompt, response, not extra.get(TRUNCATED))

    def _check_thinking(self, drawn_with: Any, name: str) -> None:
        flag = self.chat.get("enable_thinking")
        if None not in (drawn_with, flag) and bool(drawn_with) != bool(flag):
            raise ValueError(
                f"{name} is a sample that was drawn with enable_thinking={bool(drawn_with)}, and "
                f"data.apply_chat_template_kwargs.enable_thinking={flag} would put it behind another prompt: "
                "set the same."
            )

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def _marked(self, text: _Texts) -> LeftOut | None:
        for where, words in (("prompt", text.messages), (self.config.solution, text.response)):
            tokens = [token for token in self.context.control_tokens.found(words) if not _reasons(token)]
            if not tokens or self.config.control_tokens == "keep":
                continue
            found = f"{where} holds {' '.join(tokens)}"
            if self.config.control_tokens == "error":
                raise ValueError(
                    f"{found} in {text.name}, which the tokenizer reads as control tokens: a turn would end "
                    "or begin there. Rewrite the row, or set data.examples.control_tokens=drop to leave such "
                    "rows out, or keep where they are meant."
                )
            return LeftOut(text.name, found)
        return None

    def _overlong(self, name: str, example: Example) -> LeftOut | None:
        length = example.tokens
        if length <= self.max_length:
            return None
        if self.config.overlong == "error":
            raise ValueError(
                f"{name} has {length} tokens ({len(example.prompt)} of the prompt), "
                f"data.max_length={self.max_length}: raise it, or set data.examples.overlong=drop to leave "
                "such rows out."
            )
        return LeftOut(name, f"{length} tokens, data.max_length={self.max_length}")


def turn_end(tokenizer: Any, chat: Mapping[str, Any]) -> int:
    """Return the token by which the chat template closes the assistant's turn.

    Raises:
        ValueError: when the template closes it by plain text, or not at all.
    """
    renderer = Renderer(tokenizer, chat)

    def conversation_of(text: str) -> str:
        return renderer.text([user("a"), {"role": "assistant", "content": text}], header=False)

    end = prompt_end(conversation_of)
    first = tokenizer(end, add_special_tokens=False)["input_ids"][:1]
    if not first or not (first[0] in tokenizer.added_tokens_decoder or first[0] in tokenizer.all_special_ids):
        raise ValueError(
            f"the chat template closes the assistant's turn by {end!r}, which does not begin with a special "
            "token: the model would never learn to end its turn. Use another chat template."
        )
    return first[0]


def _reasons(token: str) -> bool:
    return REASONING_MARK.fullmatch(token) is not None
