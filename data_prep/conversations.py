"""Conversations: the problem in the user's turn, the solution and the reasoning in the assistant's.

Two forms are read, `[{"from": "human", "value": ...}]` and `[{"role": "user", "content": ...}]`, also as JSON
text. Instructions to the model (a system turn, :data:`REQUESTS`) are removed from the problem, because the
prompt adds its own instruction.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from data_prep.values import UnreadableError, as_text, from_json

SPEAKERS = {"human": "user", "gpt": "assistant", "model": "assistant"}
REQUESTS = (
    r"Return your final response within \\boxed\{\}\.",
    r"Solve the following math problem step by step\. The last line of your response should be of the form "
    r"Answer: [^\n]{1,30} \(without quotes\) where [^\n]{1,20} is the answer to the problem\.",
    r"Remember to put your answer on its own line after \"Answer:\"[^\n]{0,60}$",
    r"Let's think step by step and output the final answer (?:within \\boxed\{\}|after \"####\")\.",
    r"Please reason step by step, and put your final answer within \\boxed\{\}\.",
    r"Present the answer in LaTe?[xX] format: \\boxed\{Your answer\}",
)
"""Requests for a form of the answer, as public data sets word them."""
_REQUESTS = re.compile("|".join(rf"\s*{request}\s*" for request in REQUESTS))
_HINTS = ("Return your", "Solve the", "Remember to", "Let's think", "Please reason", "Present the")
_THOUGHT = re.compile(r"<\|begin_of_thought\|>(.*)<\|end_of_thought\|>", re.DOTALL)
_SOLUTION = re.compile(r"<\|begin_of_solution\|>(.*)<\|end_of_solution\|>", re.DOTALL)


class Answered(NamedTuple):
    """What an assistant's turn holds.

    Attributes:
        reasoning: the long trace, "" without one.
        solution: the concise solution after the trace, "" if the trace never ends.
        is_marked: whether marks separate the two; without marks the whole text is the solution.
    """

    reasoning: str
    solution: str
    is_marked: bool


def user_turn(conversation: Any) -> str:
    """Return the problem of a conversation, or of a prompt that is plain text.

    Raises:
        UnreadableError: for several turns of the user, or a turn that is not text.
    """
    found = from_json(conversation)
    if isinstance(found, str):
        return without_requests(found.strip())
    return without_requests(_turn(found, "user"))


def assistant_turn(conversation: Any) -> Answered:
    """Return reasoning and solution of the assistant's turn; errors as :func:`user_turn`."""
    return divided(_turn(from_json(conversation), "assistant"), is_response=True)


def divided(text: str, *, is_response: bool = False) -> Answered:
    """Return the reasoning and the solution of a text that begins with `<think>` or OpenThoughts' mark.

    A trace that never ends has no solution. A mark in the middle of a text counts as text.

    Args:
        text: a solution.
        is_response: the text is a model's response; its `<think>` may be in the prompt and missing here.
    """
    if text.startswith(("<|begin_of_thought|>", "<|begin_of_solution|>")):
        return Answered(_between(_THOUGHT, text), _between(_SOLUTION, text), True)
    is_opened = text.startswith("<think>")
    before, mark, after = text.rpartition("</think>")
    if mark and (is_opened or is_response):
        return Answered(before.removeprefix("<think>").strip(), after.strip(), True)
    return Answered("", "" if is_opened else text, is_opened)


def without_requests(problem: str) -> str:
    """Return a problem without the requests for a form of the answer."""
    if not any(hint in problem for hint in _HINTS):
        return problem
    return _REQUESTS.sub("\n\n", problem).strip()


def _turn(conversation: Any, speaker: str) -> str:
    if hasattr(conversation, "tolist"):  # numpy
        conversation = conversation.tolist()
    if conversation is None:
        return ""
    if not isinstance(conversation, list | tuple):
        raise UnreadableError("a conversation that is not a list", conversation)
    said = [_said(turn) for turn in conversation]
    texts = [text for name, text in said if SPEAKERS.get(name, name) == speaker]
    if len(texts) > 1:
        raise UnreadableError(f"a conversation with several turns of the {speaker}", texts[1])
    return as_text(texts[0]) if texts else ""


def _said(turn: Any) -> tuple[str, Any]:
    if not isinstance(turn, dict):
        raise UnreadableError("a turn that is no object", turn)
    name = turn["from"] if turn.get("from") is not None else turn.get("role")
    said = turn["value"] if turn.get("value") is not None else turn.get("content")
    if isinstance(said, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in said):
        said = "".join(as_text(part.get("text")) for part in said)
    return str(name).lower(), said


def _between(pattern: re.Pattern[str], value: str) -> str:
    found = pattern.search(value)
    return found[1].strip() if found else ""
