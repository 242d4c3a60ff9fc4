"""What a chat template writes after the user's text: the end of the turn and the generation header.

It cannot be computed as "rendered with the header, minus rendered without". Some templates write a flag into
the user's turn (GLM-4.5's `/nothink`), close a conversation without a header by an end token (Phi-3), or open
the assistant's turn in both cases (Command R7B). So a probe replaces the user's text, and the text after the
probe is the end.
"""

from __future__ import annotations

from collections.abc import Callable

_PROBES = ("first probe 7f3a of the chat template", "91c2 is the second one")
"""Two texts that no template contains. If both have the same end, the end does not depend on the text."""


def prompt_end(render: Callable[[str], str]) -> str:
    """Return what a chat template writes after the last user turn's text.

    Args:
        render: returns the rendered conversation whose last user turn has the given text.

    Raises:
        ValueError: when the template changes the text, or when the end depends on the text.
    """
    ends = [_after(render(probe), probe) for probe in _PROBES]
    if ends[0] != ends[1]:
        raise ValueError(
            f"the chat template ends a prompt in {ends[0]!r} or {ends[1]!r}, depending on the user's text, "
            "so the two sides' prompts may end differently: use another chat template."
        )
    return ends[0]


def _after(rendered: str, probe: str) -> str:
    _, found, after = rendered.rpartition(probe)
    if not found:
        raise ValueError(
            f"the chat template does not show the user's text: {probe!r} became {rendered!r}. Templates that "
            "want a list of parts, or change the text, are not supported: use another chat template."
        )
    return after
