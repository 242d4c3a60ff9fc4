"""The prompts of an evaluation: the student's or the teacher's, in the model's own chat template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from verl_egrsd.evaluation.problems import Problem
from verl_egrsd.reward import opens_reasoning, warn_of_hidden_marks
from verl_egrsd.teacher.context import PrivilegedContext
from verl_egrsd.teacher.rendering import Renderer
from verl_egrsd.teacher.templates import Template


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
    """Renders problems for a model, as training does.

    Args:
        model: folder with tokenizer and chat template.
        thinking: the chat template's thinking flag.
        template: of the teacher's prompt; None renders the student's.
    """

    def __init__(self, model: Path, *, thinking: bool, template: Template | None = None) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
        warn_of_hidden_marks(tokenizer)
        flags = {"enable_thinking": thinking}
        self._tokenizer, self._renderer = tokenizer, Renderer(tokenizer, flags)
        self._context = None if template is None else PrivilegedContext(tokenizer, template, flags, flags)

    def __call__(self, problem: Problem) -> Prompt:
        """Render a problem.

        Raises:
            ValueError: when the chat template, or the teacher's template, does not take its conversation.
        """
        if self._context is None:
            messages = problem.messages
            text = self._renderer.text(messages)
        else:
            messages = self._context.messages(problem.messages, problem.privileged or {})
            text = self._renderer.prompt(messages)
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return Prompt(list(ids), opens_reasoning(text, messages[-1]["content"]))
