"""Where a response reasons: an answer counts after its reasoning, which the prompt may have opened.

Many chat templates end a prompt with `<think>`, so a response starts inside its reasoning and never says so.
Who judges a response must therefore know how its prompt ended; :func:`opens_reasoning` reads it off.
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
MARK = re.compile("|".join(re.escape(mark) for pair in PAIRS for mark in pair))


def opens_reasoning(prompt: str, message: str = "") -> bool:
    """Whether a response to a rendered prompt starts inside the reasoning.

    Only the generation header decides, which is what the template writes after the last message: problems and
    instructions may name the marks. `<think>\\n\\n</think>`, the header of a model that shall not think, is
    closed.

    Args:
        prompt: the whole rendered prompt, or the end of it, generation header included.
        message: text of the last message in it; "" where `prompt` is what follows that text.
    """
    header = prompt.rpartition(message.strip())[2] if message.strip() else prompt
    marks = MARK.findall(header)
    # A prompt may also be written to its end by the data, without a header of the template.
    return marks[-1] in OPENING if marks else prompt.rstrip().endswith(OPENING)


def after_reasoning(response: str, *, inside_reasoning: bool = False) -> str:
    """Return what a response says after its reasoning, "" where it never leaves it.

    Args:
        response: decoded response.
        inside_reasoning: whether the prompt opened the reasoning, see :func:`opens_reasoning`.
    """
    marks = list(MARK.finditer(response))
    if not marks:
        return "" if inside_reasoning else response
    return "" if marks[-1].group() in OPENING else response[marks[-1].end() :]


def warn_of_hidden_marks(tokenizer: Any) -> None:
    """Warn where the text that is judged lacks marks: verl and vLLM leave special tokens out of it."""
    hidden = [mark for pair in PAIRS for mark in pair if _is_hidden(tokenizer, mark)]
    if hidden:
        logger.warning(
            "%s are special tokens of this tokenizer, so the text that is judged lacks them: nobody can tell "
            "where a response leaves its reasoning, and an answer inside of it counts like one after it. Set "
            '"special": false for them in the tokenizer\'s files, or switch thinking off.',
            ", ".join(hidden),
        )


def _is_hidden(tokenizer: Any, mark: str) -> bool:
    ids = tokenizer(mark, add_special_tokens=False)["input_ids"]
    return mark in tokenizer.decode(ids) and mark not in tokenizer.decode(ids, skip_special_tokens=True)


def starts_inside(extra_info: Any) -> bool:
    """Whether the row that a response belongs to says that its prompt opened the reasoning."""
    return isinstance(extra_info, Mapping) and bool(extra_info.get(PROMPT_OPENS_REASONING))
