"""Where a response reasons: only an answer after the reasoning counts, and the prompt may have opened it.

Many chat templates end a prompt with `<think>`. The response then starts inside its reasoning, but its text
does not show that. The code that judges a response must therefore know how the prompt ended; see
:func:`opens_reasoning`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

PROMPT_OPENS_REASONING = "prompt_opens_reasoning"
"""Key of `extra_info` that tells a reward function whether the row's rendered prompt opens the reasoning."""
PAIRS = (
    ("<think>", "</think>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""What opens and closes the reasoning in the chat templates of model families."""
OPENING = tuple(opening for opening, _ in PAIRS)
REASONING_MARK = re.compile("|".join(re.escape(mark) for pair in PAIRS for mark in pair))


def opens_reasoning(prompt: str, message: str = "") -> bool:
    """Whether a response to a rendered prompt starts inside the reasoning.

    Only the generation header decides, that is, what the template writes after the last message. Problems and
    instructions may contain the same marks. `<think>\\n\\n</think>`, the header of a model that shall not
    think, is closed.

    Args:
        prompt: the whole rendered prompt, or the end of it, generation header included.
        message: text of the last message in it; "" if `prompt` already starts after that text.
    """
    header = prompt.rpartition(message.strip())[2] if message.strip() else prompt
    marks = REASONING_MARK.findall(header)
    # Data may also contain complete prompts, which have no header from the template.
    return marks[-1] in OPENING if marks else prompt.rstrip().endswith(OPENING)


def after_reasoning(response: str, *, inside_reasoning: bool = False) -> str:
    """Return the part of a response after its reasoning, "" if the reasoning never ends.

    Args:
        response: decoded response.
        inside_reasoning: whether the prompt opened the reasoning, see :func:`opens_reasoning`.
    """
    marks = list(REASONING_MARK.finditer(response))
    if not marks:
        return "" if inside_reasoning else response
    return "" if marks[-1].group() in OPENING else response[marks[-1].end() :]


def warn_of_hidden_marks(tokenizer: Any) -> None:
    """Warn if verl and vLLM remove the reasoning marks from the text that is judged, as special tokens."""
    hidden = [mark for pair in PAIRS for mark in pair if _is_hidden(tokenizer, mark)]
    if hidden:
        logger.warning(
            "%s are special tokens of this tokenizer, so the decoded text lacks them. Nobody can tell "
            "where the reasoning ends, and an answer inside it counts like one after it. Set "
            '"special": false for them in the tokenizer\'s files, or switch thinking off.',
            ", ".join(hidden),
        )


def _is_hidden(tokenizer: Any, mark: str) -> bool:
    ids = tokenizer(mark, add_special_tokens=False)["input_ids"]
    return mark in tokenizer.decode(ids) and mark not in tokenizer.decode(ids, skip_special_tokens=True)


def starts_inside(extra_info: Any) -> bool:
    """Whether the row that a response belongs to says that its prompt opened the reasoning."""
    return isinstance(extra_info, Mapping) and bool(extra_info.get(PROMPT_OPENS_REASONING))
