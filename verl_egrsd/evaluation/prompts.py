"""The prompts of an evaluation: conversations rendered with the model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verl_egrsd.reward import opens_reasoning, warn_of_hidden_marks


@dataclass(frozen=True)
class Prompt:
    """A rendered conversation.

    Attributes:
        ids: token ids, generation header included.
        inside_reasoning: whether the prompt opens the reasoning, so that the answer starts inside it.
    """

    ids: list[int]
    inside_reasoning: bool


class PromptRenderer:
    """The chat template of a model.

    Args:
        model: folder with tokenizer and chat template.
        thinking: the template's thinking flag.
    """

    def __init__(self, model: Path, *, thinking: bool) -> None:
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(model)
        warn_of_hidden_marks(self._tokenizer)
        self._thinking = thinking

    def __call__(self, messages: Sequence[dict[str, str]]) -> Prompt:
        """Render a conversation."""
        text = self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=self._thinking
        )
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return Prompt(list(ids), opens_reasoning(text, messages[-1]["content"]))
