"""Readers of raw rows: each takes one part, such as the problem, out of the columns that hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data_prep.conversations import Answered, assistant_turn, divided, user_turn
from data_prep.values import as_answer, as_text, field, from_json
from verl_egrsd.reward.answer import BOX, own_answer

Raw = Mapping[str, Any]
Reader = Callable[[Raw], str]
"""Returns a part of a row as text, "" where it is missing; raises UnreadableError for what is no text."""


def text(raw: Raw, *names: str) -> str:
    """Return the first of these columns that is filled, as text; "" where none is.

    Args:
        raw: a row.
        names: columns; `extra_info.solution` leads into an object or its JSON text.

    Raises:
        UnreadableError: for a value that is no text.
    """
    return next(filter(None, (as_text(_value(raw, name)) for name in names)), "")


def nothing(raw: Raw) -> str:
    """Return the text of a part that a form does not have."""
    return ""


def column(*names: str) -> Reader:
    """Return a reader of the first of these columns that is filled."""
    return lambda raw: text(raw, *names)


def answer_column(*names: str) -> Reader:
    """Return a reader of the final answer in the first of these columns that is filled.

    Where the column holds more, such as `\\boxed{5}` or a solution that ends in `#### 5`, its answer counts.
    """
    return lambda raw: next(filter(None, (_answer(_value(raw, name)) for name in names)), "")


def solution_column(*names: str, is_response: bool = False) -> Reader:
    """Return a reader of the concise solution in the first of these columns that is filled."""
    return lambda raw: divided(text(raw, *names), is_response=is_response).solution


def reasoning_column(*names: str, is_response: bool = False) -> Reader:
    """Return a reader of the reasoning before the solution in the first of these columns that is filled."""
    return lambda raw: divided(text(raw, *names), is_response=is_response).reasoning


def named_problem(name: str) -> Reader:
    """Return a reader of the problem in a column of texts or of conversations."""
    return lambda raw: user_turn(found) if _is_conversation(found := _value(raw, name)) else as_text(found)


def named_solution(name: str) -> Reader:
    """Return a reader of the concise solution in a column of texts or of conversations."""
    return lambda raw: _answered(raw, name).solution


def named_reasoning(name: str) -> Reader:
    """Return a reader of the reasoning before the solution in such a column."""
    return lambda raw: _answered(raw, name).reasoning


def conversation_problem(name: str) -> Reader:
    """Return a reader of the problem in a column of conversations."""
    return lambda raw: user_turn(raw.get(name))


def assistant_solution(name: str, *, needs_marks: bool = False) -> Reader:
    """Return a reader of the assistant's solution in a column of conversations.

    Args:
        name: the column.
        needs_marks: an answer without marks around its reasoning is no concise solution.
    """

    def read(raw: Raw) -> str:
        said: Answered = assistant_turn(raw.get(name))
        return said.solution if said.is_marked or not needs_marks else ""

    return read


def assistant_reasoning(name: str) -> Reader:
    """Return a reader of the assistant's reasoning in a column of conversations."""
    return lambda raw: assistant_turn(raw.get(name)).reasoning


def verl_problem(raw: Raw) -> str:
    """Return the problem of a row in verl's schema: `extra_info` may hold it, else the prompt does."""
    return text(raw, "extra_info.problem", "extra_info.question") or user_turn(raw.get("prompt"))


def verl_solution(raw: Raw) -> str:
    """Return the solution of a row in verl's schema, which only `extra_info` may hold.

    `extra_info.answer` is one where it arrives at a marked answer, as in the rows of verl's GSM8K script.
    """
    if stated := text(raw, "extra_info.solution"):
        return stated
    worked = _value(raw, "extra_info.answer")
    return worked.strip() if isinstance(worked, str) and own_answer(worked) else ""


def _answer(value: Any) -> str:
    answer = as_answer(value)
    return (own_answer(answer) or answer) if BOX in answer or "####" in answer else answer


def _answered(raw: Raw, name: str) -> Answered:
    found = _value(raw, name)
    return assistant_turn(found) if _is_conversation(found) else divided(as_text(found))


def _is_conversation(value: Any) -> bool:
    """Whether a value is a list of turns, also one of numpy or as JSON text."""
    value = from_json(value)
    return (
        hasattr(value, "__getitem__")
        and not isinstance(value, str | Mapping)
        and isinstance(value[0] if len(value) else None, Mapping)
    )


def _value(raw: Raw, name: str) -> Any:
    return raw[name] if name in raw else field(raw, name)
