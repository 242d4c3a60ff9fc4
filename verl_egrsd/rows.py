"""What a row of the data says: each field is read in one way, and what cannot be read is named.

Rows come from parquet files of many makers. Numbers are written out; a list, a structure, text of JSON or a
missing value never becomes the words that Python has for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Number, Real
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Message = dict[str, Any]

ANSWER_INSTRUCTION = "Think it through step by step, and give the final answer inside \\boxed{}."
"""What a prompt asks for beside the problem: the form of the answer that the verifier reads."""
NOTHING = {"none", "null", "nan", "<na>"}
"""How programs write a missing value; as an answer it would be `\\text{none}`."""
_CODE = re.compile(r"""\s*[\[{(]+\s*["'].*[\])}]\s*""", re.DOTALL)
"""A list or a structure with quoted text in it, of JSON or Python; `[-2, 7]` and `{1, 2}` are answers."""
_SHOWN = 80


class Field(NamedTuple):
    """A field that is needed, as text or as a share.

    Attributes:
        column: column of the row.
        key: field of that column.
        use: who needs it, as the end of "..., but".
        other: what else could be done than to fill the field, as the end of a sentence.
    """

    column: str
    key: str
    use: str
    other: str = "or drop the row"


GROUND_TRUTH = Field("reward_model", "ground_truth", "the reward compares answers with it")


def row_name(row: Row, position: int | None = None) -> str:
    """Return how messages name a row: by `extra_info.index`, else by its position in the file."""
    extra = row.get("extra_info")
    index = extra.get("index") if isinstance(extra, Mapping) else None
    number = index if index is not None else "?" if position is None else position
    return f"row {number} of {row.get('data_source') or 'the training data'}"


def structure(row: Row, column: str, name: str) -> Mapping[str, Any]:
    """Return a column with named fields, {} where the row has none.

    Raises:
        ValueError: when it is anything else, such as JSON text.
    """
    value = row.get(column)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{column} of {name} is {_kind(value)}: write the column as a structure with named fields "
            "(json.loads turns JSON text into one, and pandas.to_parquet keeps it)."
        )
    return value


def text_of(row: Row, field: Field, name: str) -> str:
    """Return a field as text; a number is written out, 12.0 as 12.

    Raises:
        ValueError: when it is missing, empty, NaN, infinite, a list, a structure, true or false, or text of
            JSON, with the row's name, the value and the remedy.
    """
    value = structure(row, field.column, name).get(field.key)
    what = f"{field.column}.{field.key} of {name}"
    if _is_missing(value):
        raise ValueError(
            f"{what} is {value!r}, but {field.use}. Fill the column (data_prep writes it), {field.other}."
        )
    if isinstance(value, str) and not _CODE.fullmatch(value):
        return value
    if isinstance(value, Number) and not isinstance(value, bool) and value not in (math.inf, -math.inf):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    raise ValueError(f"{what} is {_kind(value)}, but {field.use}. Write it as plain text, {field.other}.")


def share_of(row: Row, field: Field, name: str) -> float:
    """Return a field as a share, from 0 to 1.

    Raises:
        ValueError: when it is missing, no number, NaN, or outside [0, 1], with the row's name, the value and
            the remedy.
    """
    value = structure(row, field.column, name).get(field.key)
    if isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1:
        return float(value)
    raise ValueError(
        f"{field.column}.{field.key} of {name} is {_kind(value)}, but {field.use}. Write a number from 0 to "
        f"1 (the problems.parquet of verl-egrsd sample has one in every row), {field.other}."
    )


def conversation(row: Row, column: str, name: str) -> list[Message]:
    """Return the messages of a row.

    Raises:
        ValueError: unless they are a list of messages with role and text, and the last one is the
            user's; with the row's name and the remedy.
    """
    messages = row.get(column)
    example = '[{"role": "user", "content": "..."}]'
    if isinstance(messages, str | bytes | Mapping) or messages is None or len(messages) == 0:
        raise ValueError(
            f"{column} of {name} is {_kind(messages)}, not a list of messages: write it as {example}, as "
            "data_prep does, or drop the row."
        )
    for message in messages:
        if not isinstance(message, Mapping) or not message.get("role") or message.get("content") is None:
            raise ValueError(
                f"{column} of {name} holds {_kind(message)}, not a message with role and content: write the "
                f"column as {example}, or drop the row."
            )
    kinds = {type(message["content"]).__name__ for message in messages}
    if messages[-1]["role"] != "user" or kinds != {"str"}:
        raise ValueError(
            f"{column} of {name} must end in a user turn of plain text, found role {messages[-1]['role']!r} "
            f"with content of type {type(messages[-1]['content']).__name__} (all turns: "
            f"{', '.join(sorted(kinds))}): images, and prompts that end in another turn, are not supported. "
            "Rewrite or drop the row."
        )
    if not messages[-1]["content"].strip():
        raise ValueError(f"{column} of {name} has an empty user turn: fill it, or drop the row.")
    return [dict(message) for message in messages]


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip() or value.strip().lower() in NOTHING
    return value is None or (isinstance(value, Number) and value != value)  # NaN differs from itself


def _kind(value: Any) -> str:
    """Return a value for a message: what it is, and how it starts."""
    if value is None:
        return "missing (None)"
    names = {"str": "the text", "list": "the list", "dict": "the structure", "bytes": "the bytes"}
    shown = repr(value)
    name = names.get(type(value).__name__, "the value")
    return f"{name} {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}"
