"""Readers of raw rows: each returns one part of a row, such as the problem, from the columns that hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data_prep.conversations import Answered, assistant_turn, divided, user_turn
from data_prep.values import as_answer, as_text, field, from_json
from verl_egrsd.reward.answer import BOX, own_answer

Raw = Mapping[str, Any]
Reader = Callable[[Raw], str]
"""Returns a part of a row as text, "" if it is missing; raises UnreadableError for other types."""


def text(raw: Raw, *names: str) -> str:
    """Return the first filled one of these columns as text; "" if all are empty.

    Args:
        raw: a row.
        names: columns; `extra_info.solution` is a field of an object or of its JSON text.

    Raises:
        UnreadableError: for a value that is not text.
    """
    return next(filter(None, (as_text(_value(raw, name)) for name in names)), "")


def nothing(raw: Raw) -> str:
    """Return "", the text of a part that a schema does not have."""
    return ""


def column(*names: str) -> Reader:
    """Return a reader of the first of these columns that is filled."""
    return lambda raw: text(raw, *names)


def answer_column(*names: str) -> Reader:
    """Return a reader of the final answer in the first of these columns that is filled.

    If the column holds more, such as `\\boxed{5}` or a solution that ends in `#### 5`, the answer in it
    counts.
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
        needs_marks: whether an answer counts as a solution only if marks end its reasoning.
    """

    def read(raw: Raw) -> str:
        said: Answered = assistant_turn(raw.get(name))
        return said.solution if said.is_marked or not needs_marks else ""

    return read


def assistant_reasoning(name: str) -> Reader:
    """Return a reader of the assistant's reasoning in a column of conversations."""
    return lambda raw: assistant_turn(raw.get(name)).reasoning


def verl_problem(raw: Raw) -> str:
    """Return the problem of a row in verl's schema, from `extra_info` if possible, else from the prompt."""
    return text(raw, "extra_info.problem", "extra_info.question") or user_turn(raw.get("prompt"))


def verl_solution(raw: Raw) -> str:
    """Return the solution of a row in verl's schema; only `extra_info` can hold it.

    `extra_info.answer` counts as a solution if it ends in a marked answer, as in the rows of verl's GSM8K
    script.
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
    """Whether a value is a list of turns; a numpy array or JSON text of such a list counts too."""
    value = from_json(value)
    return (
        hasattr(value, "__getitem__")
        and not isinstance(value, str | Mapping)
        and isinstance(value[0] if len(value) else None, Mapping)
    )


def _value(raw: Raw, name: str) -> Any:
    return raw[name] if name in raw else field(raw, name)
