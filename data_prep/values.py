"""Values of raw rows as text. Other types are converted by the rules below or raise; none is shown as Python.

| value | text |
|---|---|
| null, NaN, an empty list | "", the value is missing |
| a whole number, also written 5.0 | its digits; 0 is a value |
| another number | its decimals, without an exponent |
| a list of one value | that value |
| true, false, a longer list, an object, bytes, a date | :class:`UnreadableError` |
| text that is a list or an object of Python or JSON, or that UTF-8 cannot hold | :class:`UnreadableError` |
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite, isnan
from typing import Any

_CODE = re.compile(r"""[\[{(]+\s*["'].*[\])}]""", re.DOTALL)
"""A list or an object with quoted text in it; `[-2, 7]` and `{1, 2}` are answers."""
SHOWN_CHARACTERS = 60
"""Characters of a value in a message."""


class UnreadableError(ValueError):
    """A value that is not text and that no rule converts.

    Attributes:
        what: the kind of the value, such as "a list of several values"; rows are counted by it.
        value: the value itself, shortened.
    """

    def __init__(self, what: str, value: Any) -> None:
        self.what, self.value = what, shown(value)
        super().__init__(f"{what}: {self.value}")


def as_text(value: Any) -> str:
    """Return a value as stripped text, by the rules of the module's table; "" for a missing value.

    Raises:
        UnreadableError: for a value that no rule turns into text.
    """
    if isinstance(value, str):
        return _plain(value.strip())
    if value is None:
        return ""
    if hasattr(value, "tolist"):  # numpy
        return as_text(value.tolist())
    if isinstance(value, list | tuple):
        if len(value) > 1:
            raise UnreadableError("a list of several values", value)
        return as_text(value[0]) if value else ""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise UnreadableError(_kind(value), value)
    return _digits(value)


def as_answer(value: Any) -> str:
    """Return a final answer as text; a list of one string may also be written as JSON, `["2"]`.

    Raises:
        UnreadableError: as :func:`as_text`, and for JSON with several answers or an object.
    """
    text = value.strip() if isinstance(value, str) else as_text(value)
    if not text.startswith(('["', '{"')):
        return as_text(text)
    # \frac and \beta, written without a second backslash, are control characters to JSON.
    if re.search(r"(?<!\\)\\(?:\\\\)*[bfnrt]", text):
        raise UnreadableError("JSON text with unescaped backslashes", text)
    return as_text(from_json(text))


def from_json(value: Any) -> Any:
    """Return the list or object of a JSON text; any other value unchanged.

    Raises:
        UnreadableError: for text that begins as a list of objects or an object and is not JSON.
    """
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[{", '["', "[ {", "[\n")):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise UnreadableError("text that looks like JSON but is not", value) from None


def shown(value: Any) -> str:
    """Return a value as JSON, shortened for a message."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def field(value: Any, path: str) -> Any:
    """Return the field of an object with this name or dotted path; None if it is missing.

    Each step of a path is a name or a position in a list, as in `generations.0`. Objects may be JSON text. A
    field whose own name has dots is found first.
    """
    if not path or value is None:
        return value
    value = from_json(value)
    if isinstance(value, Mapping) and path in value:
        return value[path]
    name, _, rest = path.partition(".")
    if isinstance(value, Mapping):
        return field(value.get(name), rest)
    if hasattr(value, "tolist"):  # numpy
        value = value.tolist()
    if isinstance(value, list | tuple) and name.isdigit():
        return field(value[int(name)], rest) if int(name) < len(value) else None
    raise UnreadableError(f"{_kind(value)} without a field {name!r}", value)


def _plain(text: str) -> str:
    if text.startswith(("[", "{", "(")) and _CODE.fullmatch(text):
        raise UnreadableError("a list or an object of code written as text", text)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnreadableError("text with half of a surrogate pair", ascii(text)) from None
    return text


def _digits(number: int | float | Decimal) -> str:
    if isinstance(number, int):
        return str(number)
    if isnan(number):
        return ""
    if not isfinite(number):
        raise UnreadableError("an infinite number", str(number))
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    plain = f"{exact:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", dict: "an object", bytes: "bytes", str: "a text", list: "a list"}
    return kinds.get(type(value), f"a {type(value).__name__}")
