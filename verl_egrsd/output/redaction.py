"""Keeps tokens, keys and passwords out of what a run writes: reports, records of settings, and its log."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

REDACTED = "<redacted>"
SHORTEST_SECRET = 8
"""Characters; a shorter value is not looked for in texts, where it would hit other words."""
_END = r"(_?\d+|_pem|_b64|_base64)*$"
"""How a name may end behind the word that makes it a secret."""
SECRET_NAME = re.compile(
    r"secret|passw(or)?d|passphrase|credential|api_?key|authorization|bearer|connection_string"
    r"|_pwd$|(^|_)pass$"
    rf"|_tokens{_END}|(^|_)(token|auth|cookies?|pat|jwt|webhook|webhook_url){_END}"
    r"|(^|_)(access|private|account|auth|client|encryption|license|master|service|signing|ssh|storage"
    rf"|subscription|openai|anthropic|azure|gemini|mistral|wandb)_keys?{_END}"
)
"""What a name says, in snake case, whose value nobody else should read."""
SECRET_VARIABLE = re.compile(r"(?<!PUBLIC)_KEYS?(_?\d+)?$")
"""How a variable of the environment ends that holds a key; in settings many keys are those of columns."""
VOCABULARY = re.compile(
    r"(^|_)(eos|bos|pad|unk|mask|sep|cls|end|stop|image|video|audio|special|control|dp)_tokens?$"
    r"|(^|_)(batched|completion|draft|first|generated|input|new|output|prompt|response|speculative)_tokens$"
    r"|(^|_)(max|min|num|n|total)_(\w+_)?tokens$"
)
"""Names of tokens of a vocabulary, and of numbers of them."""
LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
"""User and password in an address."""


def names_secret(name: str) -> bool:
    """Whether a key or an environment variable is named like one that holds a secret."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    snake = re.sub(r"[^a-z0-9]+", "_", snake.lower())
    if name.isupper() and SECRET_VARIABLE.search(name):
        return True
    return bool(SECRET_NAME.search(snake)) and not VOCABULARY.search(snake)


def redacted(node: Any, secrets: Collection[str] = (), name: str = "") -> Any:
    """Return settings or facts without secrets: values under a name of a secret, and passwords in addresses.

    True and false tell nobody a secret (`use_auth_token`).

    Args:
        node: nested mappings and sequences.
        secrets: values to leave out wherever they stand.
        name: the key that the node stands under.
    """
    if isinstance(node, Mapping):
        return {key: redacted(value, secrets, _named(name, key)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [redacted(value, secrets, name) for value in node]
    if names_secret(name) and not isinstance(node, bool) and node not in (None, ""):
        return REDACTED
    return scrubbed(node, secrets) if isinstance(node, str) else node


def secrets_in(node: Any, name: str = "") -> Iterator[str]:
    """Yield the values that :func:`redacted` leaves out under their names and that can be told in a text."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from secrets_in(value, _named(name, key))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from secrets_in(value, name)
    elif names_secret(name) and len(str(node)) >= SHORTEST_SECRET:
        yield str(node)


def _named(section: str, key: Any) -> str:
    """Return under which name a key's value stands: all that is in a secret is secret."""
    return section if names_secret(section) else str(key)


def scrubbed(text: str, secrets: Collection[str]) -> str:
    """Return a text without some values, and without passwords in addresses."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return LOGIN.sub(REDACTED, text)


def secrets_of_environment() -> set[str]:
    """Return the secrets in the variables of this process."""
    return {*secrets_in(os.environ)}


@contextmanager
def scrubbed_output(settings: Any) -> Iterator[None]:
    """Leave secrets out of what this process prints: verl prints the configuration, Ray what workers print.

    Args:
        settings: the configuration; its secrets, and those of the environment, are left out.
    """
    secrets = secrets_of_environment() | {*secrets_in(settings)}
    out, err = (_Scrubbing(stream, secrets) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


class _Scrubbing:
    """A text stream that leaves secrets out; in all else the stream that it wraps."""

    def __init__(self, stream: TextIO, secrets: set[str]) -> None:
        self._stream, self._secrets = stream, secrets

    def write(self, text: str) -> int:
        self._stream.write(scrubbed(text, self._secrets))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
